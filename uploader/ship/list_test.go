package ship_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/ship"
)

// put uploads a block of that number, changed as told.
func put(t *testing.T, bkt objstore.Bucket, number uint64, change func(*block.Meta)) ulid.ULID {
	t.Helper()
	dir := t.TempDir()
	m := payload(t, dir)
	m.ULID = ulid.MustNew(number, bytes.NewReader(make([]byte, 16)))
	m.Compaction.Sources = []ulid.ULID{m.ULID}
	change(m)
	if err := ship.New(bkt, 4).Upload(t.Context(), dir, m, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return m.ULID
}

// table lists the bucket for a person.
func table(t *testing.T, bkt objstore.Bucket) string {
	t.Helper()
	l, err := ship.List(t.Context(), bkt)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := l.WriteTable(&out, "metrics"); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestListTellsWhatIsLacking takes files away from blocks whose meta.json is there.
func TestListTellsWhatIsLacking(t *testing.T) {
	for _, tc := range []struct {
		name  string
		away  []string
		more  string // an object of the block that is put
		files bool   // meta.json lists them
		want  string
	}{
		{"nothing", nil, "", true, "whole"},
		{"the index", []string{"index"}, "", true, "lacks index"},
		{"a chunk file", []string{"chunks/000002"}, "", true, "lacks chunks/000002"},
		{"all", []string{"index", "chunks/000001", "chunks/000002"}, "", true, "lacks chunks/000001 and 2 more"},
		{"all, on its way out", []string{"index", "chunks/000001", "chunks/000002"}, "deletion-mark.json", true, "marked for deletion"},
		{"meta.json", []string{"meta.json"}, "", true, "not whole: no meta.json"},
		{"nothing, of unlisted files", nil, "index", false, "whole"},
		{"the index, of unlisted files", nil, "", false, "lacks index"},
	} {
		bkt := objstore.NewInMemBucket()
		id := put(t, bkt, 1, func(m *block.Meta) {
			if !tc.files {
				m.Thanos.Files = nil
			}
		})
		for _, name := range tc.away {
			if err := bkt.Delete(t.Context(), id.String()+"/"+name); err != nil {
				t.Fatal(err)
			}
		}
		if tc.more != "" {
			if err := bkt.Upload(t.Context(), id.String()+"/"+tc.more, strings.NewReader("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if got := table(t, bkt); !strings.HasSuffix(got, "  "+tc.want+"\n") {
			t.Errorf("without %s:\n%swant %s", tc.name, got, tc.want)
		}
	}
}

func TestListOfNothingNamesTheBucket(t *testing.T) {
	if got := table(t, objstore.NewInMemBucket()); got != "no blocks in metrics\n" {
		t.Errorf("%q", got)
	}
}

// TestGapsThatShow: every block begins at its first sample, which is no gap.
func TestGapsThatShow(t *testing.T) {
	for gap, want := range map[time.Duration]int{
		0: 0, 14 * time.Second: 0, 5 * time.Minute: 0, 5*time.Minute + time.Millisecond: 1, 2 * time.Hour: 1,
	} {
		bkt := objstore.NewInMemBucket()
		put(t, bkt, 1, func(m *block.Meta) { m.MinTime, m.MaxTime = 0, 7_200_000 })
		put(t, bkt, 2, func(m *block.Meta) { m.MinTime, m.MaxTime = 7_200_000+gap.Milliseconds(), 20_000_000 })
		r := report(t, bkt)
		if !r.OK() || len(r.Gaps) != want {
			t.Errorf("%s: gaps %q, problems %q; want %d gaps", gap, r.Gaps, r.Problems, want)
		}
		if want == 1 && !strings.Contains(r.Gaps[0], "("+gap.String()+")") {
			t.Errorf("%s: %s", gap, r.Gaps[0])
		}
	}
}
