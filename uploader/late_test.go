package uploader

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"
)

// writeLate makes an out-of-order block of one series.
func writeLate(t *testing.T, dir string, mint, maxt int64, name string) ulid.ULID {
	t.Helper()
	id := write(t, dir, mint, maxt, name)
	return recut(t, dir, reshape(t, dir, id, func(m *tsdb.BlockMeta) { m.Compaction.SetOutOfOrder() }))
}

// TestLateSamples has out-of-order blocks come after their window is up, twice:
// the bucket gets all samples in a block that Thanos takes in the place of the
// first one, which its compactor is to leave alone until then.
func TestLateSamples(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateUploaded, "")
		want := read(t, filepath.Join(dir, a.String()))
		for _, name := range []string{"late", "later"} {
			late := writeLate(t, dir, origin, origin+2*hour, name)
			want = join(want, read(t, filepath.Join(dir, late.String())))
			time.Sleep(settleTime)
			expect(t, u, late, stateMerged, "")
			sameContent(t, bkt, want)
			if _, blocks := fetch(t, bkt); len(blocks) != 1 {
				t.Errorf("%d blocks count", len(blocks))
			}
		}
		r, err := bkt.Get(t.Context(), path.Join(a.String(), "no-compact-mark.json"))
		if err != nil {
			t.Fatal(err)
		}
		if mark, err := io.ReadAll(r); err != nil || !strings.Contains(string(mark), `{"id":"`+a.String()+`","version":1,`) {
			t.Errorf("%s %v", mark, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "ringside", "upload", "*")); len(left) > 0 {
			t.Errorf("still staged: %v", left)
		}
	})
}

// settleTime is how long late blocks are waited for, and a little more.
const settleTime = 12 * time.Minute

// TestLateInTheEnd: late samples that a Prometheus, back on its volume, has added
// to what was flushed are uploaded when it ends again.
func TestLateInTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+hour, "a")
		if err := made(t, dir, bkt, nil).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := write(t, dir, origin+hour, origin+2*hour, "a")
		late := writeLate(t, dir, origin, origin+2*hour, "late")
		var want content
		for _, id := range []ulid.ULID{a, b, late} {
			want = join(want, read(t, filepath.Join(dir, id.String())))
		}
		if err := made(t, dir, bkt, nil).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameContent(t, bkt, want)
	})
}

// TestTooLateSamples: what was uploaded is not here any more, so that late samples
// of its time cannot be added.
func TestTooLateSamples(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Minute)
		if err := os.RemoveAll(filepath.Join(dir, a.String())); err != nil {
			t.Fatal(err)
		}
		late := writeLate(t, dir, origin, origin+2*hour, "late")
		time.Sleep(settleTime)
		expect(t, u, late, stateRefused, "the bucket holds block "+a.String()+" of the same labels for ")
		expect(t, u, late, stateRefused, "or older than what is kept; a second one would make Thanos's compactor halt")
		if n := inBucket(t, bkt); n != 1 {
			t.Errorf("%d blocks in the bucket", n)
		}
	})
}

// TestKeepsWhatLateSamplesNeed: retention takes what was uploaded while late
// samples of its time wait for more, and the sidecar is started again.
func TestKeepsWhatLateSamplesNeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		u := made(t, dir, bkt, nil)
		stop := start(t, u)
		time.Sleep(time.Minute)
		late := writeLate(t, dir, origin, origin+2*hour, "late")
		want := join(read(t, filepath.Join(dir, a.String())), read(t, filepath.Join(dir, late.String())))
		time.Sleep(time.Minute)
		if err := os.RemoveAll(filepath.Join(dir, a.String())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		u = made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(settleTime)
		expect(t, u, late, stateMerged, "")
		sameContent(t, bkt, want)
	})
}

// TestPartsAreNotLeftovers: of a block that goes up in parts Thanos takes none for
// a leftover of another.
func TestPartsAreNotLeftovers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, other, bkt := t.TempDir(), t.TempDir(), objstore.NewInMemBucket()
		write(t, other, origin+hour/2, origin+hour, "theirs")
		if err := made(t, other, bkt, nil).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		write(t, dir, origin, origin+2*hour, "a")
		start(t, made(t, dir, bkt, nil))
		time.Sleep(time.Minute)
		if got, blocks := fetch(t, bkt); len(blocks) != 3 || len(got[`{__name__="a"}`]) != 360 {
			t.Errorf("%d blocks count, with %d samples of the 360 of the time that was free", len(blocks), len(got[`{__name__="a"}`]))
		}
	})
}
