package ship_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/faulty"
	"github.com/ringside-project/ringside/uploader/ship"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// payload makes the files of a block in dir, and the meta.json that is to go
// with them, without hashes. What is in the files is of no interest to ship.
func payload(t *testing.T, dir string) *block.Meta {
	t.Helper()
	m := &block.Meta{BlockMeta: tsdb.BlockMeta{Version: 1, ULID: ulid.MustNew(1, bytes.NewReader(make([]byte, 16))), MinTime: 10, MaxTime: 20}}
	m.Thanos.Labels = map[string]string{"cluster": "a"}
	for name, size := range map[string]int{"chunks/000001": 5000, "chunks/000002": 300, "index": 900} {
		body := bytes.Repeat([]byte(name), size/len(name))
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, body, 0o666)); err != nil {
			t.Fatal(err)
		}
		m.Thanos.Files = append(m.Thanos.Files, block.File{RelPath: name, SizeBytes: int64(len(body))})
	}
	slices.SortFunc(m.Thanos.Files, func(a, b block.File) int { return strings.Compare(a.RelPath, b.RelPath) })
	m.Thanos.Files = append(m.Thanos.Files, block.File{RelPath: "meta.json"})
	return m
}

// whole fails unless the block's meta.json is in the bucket only if all of the
// block is, and tells whether it is.
func whole(t *testing.T, bkt objstore.Bucket, m *block.Meta) bool {
	t.Helper()
	l, err := ship.List(t.Context(), bkt)
	if err != nil {
		t.Fatal(err)
	}
	if len(l) == 0 || l[0].Meta == nil {
		return false
	}
	r, err := ship.Verify(t.Context(), bkt, l, true)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(l) != 1 || l[0].ID != m.ULID {
		t.Fatalf("meta.json is there, but: %+v", r.Problems)
	}
	for _, f := range l[0].Meta.Thanos.Files {
		if f.Hash == nil && f.RelPath != "meta.json" {
			t.Fatalf("meta.json is there without the hash of %s", f.RelPath)
		}
	}
	return true
}

// unhashed is m without what an attempt has added.
func unhashed(m *block.Meta) *block.Meta {
	fresh := *m
	fresh.Thanos.Files = slices.Clone(m.Thanos.Files)
	for i := range fresh.Thanos.Files {
		fresh.Thanos.Files[i].Hash = nil
	}
	return &fresh
}

// TestFaultAtEveryRequest lets each request of an upload go wrong in each way:
// meta.json is visible only if the block is whole, and the next attempt finishes.
func TestFaultAtEveryRequest(t *testing.T) {
	dir := t.TempDir()
	m := payload(t, dir)
	for name, next := range map[string]func(tried *block.Meta) *block.Meta{
		"keeps the hashes": func(tried *block.Meta) *block.Meta { return tried },
		"takes them anew":  unhashed,
	} {
		t.Run("the next attempt "+name, func(t *testing.T) { faultAtEveryRequest(t, dir, m, next) })
	}
}

func faultAtEveryRequest(t *testing.T, dir string, m *block.Meta, next func(tried *block.Meta) *block.Meta) {
	for _, before := range []string{"nothing", "all but meta.json", "a cut file", "another file of that size", "a cut meta.json"} {
		total := 0
		for _, mode := range append([]faulty.Mode{faulty.None}, faulty.Modes...) {
			for at := 1; at <= max(1, total); at++ {
				synctest.Test(t, func(t *testing.T) {
					bkt := objstore.NewInMemBucket()
					prepared(t, bkt, dir, m, before)
					f := &faulty.Bucket{Bucket: bkt, At: at, Mode: mode}
					tried := unhashed(m)
					err := ship.New(f, 2).Upload(t.Context(), dir, tried, func(int64) {})
					if there := whole(t, bkt, m); there != (err == nil) && !there {
						t.Fatalf("%s, %s at %s: %v, and the block is not there", before, mode, f.Requests()[at-1], err)
					}
					if mode == faulty.None {
						if total = len(f.Requests()); err != nil {
							t.Fatal(err)
						}
						return
					}
					sent := int64(0)
					if err := ship.New(bkt, 1).Upload(t.Context(), dir, next(tried), func(n int64) { sent += n }); err != nil {
						t.Fatalf("%s, %s at %s: the next attempt: %v", before, mode, f.Requests()[at-1], err)
					}
					if !whole(t, bkt, m) || sent > 6200 {
						t.Fatalf("%s, %s at %s: the next attempt sent %d bytes, and the block is not there", before, mode, f.Requests()[at-1], sent)
					}
				})
			}
		}
	}
}

// prepared puts into the bucket what an earlier attempt may have left.
func prepared(t *testing.T, bkt objstore.Bucket, dir string, m *block.Meta, what string) {
	t.Helper()
	put := func(name string, change func([]byte) []byte) {
		body, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err == nil {
			err = bkt.Upload(t.Context(), path.Join(m.ULID.String(), name), bytes.NewReader(change(body)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(b []byte) []byte { return b }
	switch what {
	case "all but meta.json":
		put("chunks/000001", same)
		put("chunks/000002", same)
		put("index", same)
	case "a cut file":
		put("chunks/000001", func(b []byte) []byte { return b[:len(b)/2] })
	case "another file of that size":
		put("index", bytes.ToUpper)
	case "a cut meta.json":
		raw, err := m.Encode()
		if err == nil {
			err = bkt.Upload(t.Context(), m.ULID.String()+"/meta.json", bytes.NewReader(raw[:len(raw)/2]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestResume sees to it that what is whole is not sent again.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	m := payload(t, dir)
	bkt := objstore.NewInMemBucket()
	prepared(t, bkt, dir, m, "all but meta.json")
	f := &faulty.Bucket{Bucket: bkt}
	if err := ship.New(f, 2).Upload(t.Context(), dir, m, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	puts := slices.DeleteFunc(f.Requests(), func(r string) bool { return !strings.HasPrefix(r, "put") })
	if want := []string{"put " + m.ULID.String() + "/meta.json"}; !slices.Equal(puts, want) {
		t.Errorf("%v, want %v", puts, want)
	}
	f = &faulty.Bucket{Bucket: bkt}
	if err := ship.New(f, 2).Upload(t.Context(), dir, m, func(int64) {}); err != nil || len(f.Requests()) != 2 {
		t.Errorf("of a block that is there: %v, %v", f.Requests(), err)
	}
}

// TestNextAttempt sends only what the one before could not, and reads nothing back.
func TestNextAttempt(t *testing.T) {
	dir := t.TempDir()
	m := payload(t, dir)
	f := &faulty.Bucket{Bucket: objstore.NewInMemBucket(), At: 4, Mode: faulty.Before}
	s := ship.New(f, 1)
	if err := s.Upload(t.Context(), dir, m, func(int64) {}); err == nil {
		t.Fatal("it has not failed")
	}
	first := len(f.Requests())
	if err := s.Upload(t.Context(), dir, m, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	id := m.ULID.String()
	want := []string{
		"exists " + id + "/meta.json", "list " + id + "/", "put " + id + "/chunks/000002",
		"attributes " + id + "/chunks/000001", "attributes " + id + "/chunks/000002", "attributes " + id + "/index", "put " + id + "/meta.json",
	}
	if got := f.Requests()[first:]; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMetaLast(t *testing.T) {
	dir := t.TempDir()
	m := payload(t, dir)
	f := &faulty.Bucket{Bucket: objstore.NewInMemBucket()}
	if err := ship.New(f, 4).Upload(t.Context(), dir, m, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if last := f.Requests()[len(f.Requests())-1]; !strings.HasSuffix(last, "meta.json") || !strings.HasPrefix(last, "put") {
		t.Errorf("the last request is %s", last)
	}
}

func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := payload(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		f := &faulty.Bucket{Bucket: objstore.NewInMemBucket(), At: 3, Mode: faulty.Hang}
		ended := make(chan error)
		go func() { ended <- ship.New(f, 4).Upload(ctx, dir, m, func(int64) {}) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestListAndVerify(t *testing.T) {
	ctx, bkt := t.Context(), objstore.NewInMemBucket()
	add := func(name string, mint, maxt int64, labels map[string]string) ulid.ULID {
		dir := t.TempDir()
		m := payload(t, dir)
		copy(m.ULID[6:], name)
		m.MinTime, m.MaxTime, m.Thanos.Labels = mint*3_600_000, maxt*3_600_000, labels
		if err := ship.New(bkt, 4).Upload(ctx, dir, m, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		return m.ULID
	}
	a, b := map[string]string{"cluster": "a"}, map[string]string{"cluster": "b"}
	add("one", 0, 2, a)
	two := add("two", 2, 4, a)
	add("three", 6, 8, a)
	add("other", 0, 2, b)
	missing := add("missing", 0, 2, map[string]string{"cluster": "c"})
	for name, body := range map[string]string{
		ulid.MustNew(9, bytes.NewReader(make([]byte, 16))).String() + "/index":     "half",
		ulid.MustNew(8, bytes.NewReader(make([]byte, 16))).String() + "/meta.json": "{}",
		"debug/x": "", "ringside-probe-0": "",
	} {
		if err := bkt.Upload(ctx, name, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	r := report(t, bkt)
	if len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0], "1970-01-01T04:00:00Z to 1970-01-01T06:00:00Z (2h0m0s)") {
		t.Errorf("gaps: %q", r.Gaps)
	}
	if len(r.Problems) != 1 || len(r.Notes) != 1 || r.Blocks != 7 {
		t.Errorf("%d blocks, problems: %q, notes: %q", r.Blocks, r.Problems, r.Notes)
	}

	// Now one overlaps, one has lost a file, one a byte, and one is marked.
	add("overlap", 1, 3, b)
	prepared(t, bkt, fixture(t), &block.Meta{BlockMeta: tsdb.BlockMeta{ULID: two}}, "another file of that size")
	if err := bkt.Delete(ctx, missing.String()+"/chunks/000001"); err != nil {
		t.Fatal(err)
	}
	r = report(t, bkt)
	for _, want := range []string{"overlap from 1970-01-01T01:00:00Z to 1970-01-01T02:00:00Z", two.String() + "/index: its SHA-256", missing.String() + "/chunks/000001: it is missing"} {
		if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("no %q in %q", want, r.Problems)
		}
	}
	if r.OK() || len(r.Problems) != 4 {
		t.Errorf("problems: %q", r.Problems)
	}
	for _, id := range []ulid.ULID{two, missing} {
		if err := bkt.Upload(ctx, id.String()+"/deletion-mark.json", strings.NewReader("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if r = report(t, bkt); len(r.Problems) != 2 {
		t.Errorf("those that are marked count: %q", r.Problems)
	}
}

// TestVerifyUnderWay has an upload that has not put meta.json yet, of a block that is
// old or new: that is no problem until Thanos would remove it.
func TestVerifyUnderWay(t *testing.T) {
	for _, old := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bkt := objstore.NewInMemBucket()
			made := time.Now()
			if old {
				made = made.Add(-30 * 24 * time.Hour)
			}
			id := ulid.MustNew(ulid.Timestamp(made), bytes.NewReader(make([]byte, 16)))
			if err := bkt.Upload(t.Context(), id.String()+"/index", strings.NewReader("half")); err != nil {
				t.Fatal(err)
			}
			r := report(t, bkt)
			if want := id.String() + ": not whole: no meta.json: its upload is under way"; !r.OK() || len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], want) {
				t.Errorf("old: %v: problems %q, notes %q; want %q", old, r.Problems, r.Notes, want)
			}
			var out strings.Builder
			if err := r.WriteText(&out, "metrics"); err != nil || !strings.HasPrefix(out.String(), "note     "+id.String()) {
				t.Errorf("%q %v", &out, err)
			}
			time.Sleep(48*time.Hour + time.Second)
			if r := report(t, bkt); len(r.Problems) != 1 || len(r.Notes) > 0 {
				t.Errorf("old: %v, two days later: problems %q, notes %q", old, r.Problems, r.Notes)
			}
		})
	}
}

// TestReplaced has a block that another one was made of, and more: the compactor
// is told to leave it alone, and it overlaps by right.
func TestReplaced(t *testing.T) {
	ctx, bkt := t.Context(), objstore.NewInMemBucket()
	var ids []ulid.ULID
	for _, name := range []string{"first", "second"} {
		dir := t.TempDir()
		m := payload(t, dir)
		copy(m.ULID[6:], name)
		ids = append(ids, m.ULID)
		m.Compaction.Sources = slices.Clone(ids)
		s := ship.New(bkt, 4)
		for range 2 { // the second time they are marked
			if err := s.Reserve(ctx, ids[:len(ids)-1], m.ULID); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Upload(ctx, dir, m, func(int64) {}); err != nil {
			t.Fatal(err)
		}
	}
	gone := ulid.MustNew(9, bytes.NewReader(make([]byte, 16)))
	if err := ship.New(bkt, 4).Reserve(ctx, []ulid.ULID{gone}, ids[1]); err != nil {
		t.Fatal(err)
	}
	var marks []string
	for name, body := range bkt.Objects() {
		if strings.HasSuffix(name, "no-compact-mark.json") {
			marks = append(marks, name+" "+string(body))
		}
	}
	if want := ids[0].String() + `/no-compact-mark.json {"id":"` + ids[0].String() + `","version":1,"details":"ringside replaces it by block ` + ids[1].String(); len(marks) != 1 || !strings.HasPrefix(marks[0], want) {
		t.Errorf("%q, want one that begins with %s", marks, want)
	}
	l, err := ship.List(ctx, bkt)
	if err != nil || len(l) != 2 || !l[0].Gone || l[1].Gone {
		t.Errorf("%+v %v", l, err)
	}
	if r := report(t, bkt); !r.OK() {
		t.Errorf("%q", r.Problems)
	}
}

func report(t *testing.T, bkt objstore.Bucket) ship.Report {
	t.Helper()
	l, err := ship.List(t.Context(), bkt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ship.Verify(t.Context(), bkt, l, true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fixture(t *testing.T) string {
	dir := t.TempDir()
	payload(t, dir)
	return dir
}

// TestTables is what a person sees.
func TestTables(t *testing.T) {
	dir, bkt := t.TempDir(), objstore.NewInMemBucket()
	m := payload(t, dir)
	m.MinTime, m.MaxTime = 0, 7_200_000
	if err := ship.New(bkt, 4).Upload(t.Context(), dir, m, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	l, err := ship.List(t.Context(), bkt)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := l.WriteTable(&out, "metrics"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{cluster="a"}`, "BLOCK", m.ULID.String(), "1970-01-01T02:00:00Z", "2h0m0s", "6191", "whole"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	r, err := ship.Verify(t.Context(), bkt, l, false)
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := r.WriteText(&out, "metrics"); err != nil || out.String() != "metrics: 1 blocks, 6191 bytes: 0 problems, 0 gaps\n" {
		t.Errorf("%q %v", &out, err)
	}
}
