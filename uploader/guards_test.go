package uploader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"
)

func TestGuards(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*Uploader)
		want   string
	}{
		"conflict":                 {func(u *Uploader) { u.opts.Conflict = func() string { return "10.0.0.7 says so too" } }, "may not be this member's alone: 10.0.0.7 says so too"},
		"another's data directory": {func(u *Uploader) { u.opts.PrometheusFlags = func() map[string]string { return nil } }, "is not the one of the Prometheus beside this sidecar"},
		"another's blocks": {func(u *Uploader) {
			u.opts.PrometheusBlocks = func() map[string]bool { return map[string]bool{"01JZZZZZZZ0000000000000000": true} }
		}, "or none of the blocks here is its own"},
		"no lock file": {func(*Uploader) {}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir, bkt := t.TempDir(), objstore.NewInMemBucket()
				u := made(t, dir, bkt, tc.change)
				start(t, u)
				time.Sleep(2 * time.Minute)
				a := writeOld(t, dir)
				time.Sleep(time.Minute)
				state := stateRefused
				if tc.want == "" {
					state = stateUploaded
				}
				expect(t, u, a, state, tc.want)
				if n := inBucket(t, bkt); (n == 0) != (tc.want != "") {
					t.Errorf("%d blocks in the bucket", n)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "ringside", "upload", "*")); len(left) > 0 && what != "conflict" {
					t.Errorf("staged: %v", left)
				}
			})
		})
	}
}

// writeOld makes a block that has been there for long.
func writeOld(t *testing.T, dir string) ulid.ULID {
	t.Helper()
	other := t.TempDir()
	a := write(t, other, origin, origin+2*hour, "a")
	made := filepath.Join(other, a.String())
	if err := os.Chtimes(filepath.Join(made, "meta.json"), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(made, filepath.Join(dir, a.String())); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestFirstBlock: a Prometheus that has not told of its first block yet is no
// stranger, and one that started after the sidecar staged another's blocks is.
func TestFirstBlock(t *testing.T) {
	for _, old := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			dir, bkt := t.TempDir(), objstore.NewInMemBucket()
			ready, known := shared[bool]{v: !old}, shared[map[string]bool]{v: map[string]bool{}}
			start(t, made(t, dir, bkt, func(u *Uploader) {
				u.opts.PrometheusReady, u.opts.PrometheusBlocks = ready.get, known.get
				if old { // it does not tell of its labels either
					u.opts.Labels = func() (labels.Labels, error) {
						if !ready.get() {
							return labels.EmptyLabels(), errors.New("prometheus has not answered yet")
						}
						return labels.FromStrings("prometheus_replica", "a"), nil
					}
				}
			}))
			if old {
				writeOld(t, dir)
				time.Sleep(time.Minute)
			} else {
				a := write(t, dir, origin, origin+2*hour, "a")
				time.Sleep(time.Minute)
				if n := inBucket(t, bkt); n > 0 {
					t.Error("it is in the bucket before Prometheus has told of it")
				}
				known.set(map[string]bool{a.String(): true})
			}
			ready.set(true)
			time.Sleep(time.Minute)
			if n := inBucket(t, bkt); (n == 0) != old {
				t.Errorf("old: %v: %d blocks in the bucket", old, n)
			}
		})
	}
}

// TestBadBlocksDelayNobody has one bad block of each sort, and a good one.
func TestBadBlocksDelayNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		corrupt := write(t, dir, origin, origin+2*hour, "a")
		index := filepath.Join(dir, corrupt.String(), "index")
		raw, err := os.ReadFile(index)
		if err == nil {
			err = os.WriteFile(index, raw[:len(raw)/2], 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		empty := reshape(t, dir, write(t, dir, origin+2*hour, origin+4*hour, "a"), func(m *tsdb.BlockMeta) { m.Stats = tsdb.BlockStats{} })
		future := reshape(t, dir, write(t, dir, origin+4*hour, origin+6*hour, "a"), func(m *tsdb.BlockMeta) { m.MinTime += 1000 * hour; m.MaxTime += 1000 * hour })
		ancient := reshape(t, dir, write(t, dir, origin+6*hour, origin+8*hour, "a"), func(m *tsdb.BlockMeta) { m.MinTime = 1 })
		cut := write(t, dir, origin+8*hour, origin+10*hour, "a")
		if err := os.WriteFile(filepath.Join(dir, cut.String(), "meta.json"), []byte("{"), 0o666); err != nil {
			t.Fatal(err)
		}
		good := write(t, dir, origin+10*hour, origin+12*hour, "a")
		before := files(t, dir)
		u := made(t, dir, bkt, nil)
		stop := start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, corrupt, stateRefused, "the block is corrupt: index: ")
		expect(t, u, empty, stateCovered, "")
		expect(t, u, future, stateRefused, "set the clock of this machine")
		expect(t, u, ancient, stateRefused, "clock was off")
		expect(t, u, cut, stateRefused, "not a block's meta.json")
		expect(t, u, good, stateUploaded, "")
		sameContent(t, bkt, read(t, filepath.Join(dir, good.String())))
		if after := files(t, dir); len(after) != len(before) {
			t.Error("a file of Prometheus's has gone")
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "ringside", "upload", "*")); len(left) > 0 {
			t.Errorf("still staged: %v", left)
		}
		stop()
		if err := u.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "4 blocks are not in the bucket") {
			t.Errorf("Finish: %v", err)
		}
	})
}

func TestUnreadableChunks(t *testing.T) {
	for _, allow := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			dir, bkt := t.TempDir(), objstore.NewInMemBucket()
			o := tsdb.DefaultOptions()
			o.FloatChunkEncoding = chunkenc.EncXOR2
			db := lively(t, dir, o)
			if err := errors.Join(db.CompactHead(tsdb.NewRangeHead(db.Head(), origin, origin+2*hour-1)), db.Close()); err != nil {
				t.Fatal(err)
			}
			ids, err := blockDirs(dir)
			if err != nil {
				t.Fatal(err)
			}
			u := made(t, dir, bkt, func(u *Uploader) { u.cfg.AllowUnreadable = allow })
			start(t, u)
			time.Sleep(time.Minute)
			if allow {
				expect(t, u, ids[0], stateUploaded, "")
			} else {
				expect(t, u, ids[0], stateRefused, "released versions of Thanos cannot decode 2 of encoding XOR2")
			}
		})
	}
}

// TestBucketOfOthers holds blocks of the same labels that were not made here.
func TestBucketOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		other := t.TempDir()
		theirs := write(t, other, origin, origin+2*hour+hour/2, "theirs")
		if err := made(t, other, bkt, nil).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := write(t, dir, origin, origin+2*hour, "a")
		b := write(t, dir, origin+2*hour, origin+4*hour, "a")
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateRefused, "the bucket holds block "+theirs.String()+" of the same labels for ")
		expect(t, u, b, stateMerged, "the bucket holds block "+theirs.String()+" of the same labels for ")
		got, blocks := fetch(t, bkt)
		if n := len(got[`{__name__="a"}`]); n != 360 || len(blocks) != 2 {
			t.Errorf("%d samples in %d blocks, want the 360 of the time that was free", n, len(blocks))
		}
	})
}

// TestOutOfOrderWindow waits until nothing can come any more, and then merges.
func TestOutOfOrderWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.OutOfOrderWindow = func() time.Duration { return 2 * time.Hour }
		})
		start(t, u)
		time.Sleep(time.Hour)
		expect(t, u, a, stateWaiting, "more samples for its time may come until Prometheus cuts a block with its head beyond ")
		b := recut(t, dir, write(t, dir, origin+2*hour, origin+4*hour, "a"))
		late := recut(t, dir, reshape(t, dir, write(t, dir, origin, origin+2*hour, "late"), func(m *tsdb.BlockMeta) { m.Compaction.SetOutOfOrder() }))
		want := join(read(t, filepath.Join(dir, a.String())), read(t, filepath.Join(dir, late.String())))
		time.Sleep(9 * time.Minute)
		expect(t, u, a, stateWaiting, "10m0s ago are waited for")
		if st := u.Status(); st.LagSeconds == 0 || st.OverdueSeconds != 0 {
			t.Errorf("lag %v, overdue %v; only the former counts the wait", st.LagSeconds, st.OverdueSeconds)
		}
		time.Sleep(2 * time.Minute)
		expect(t, u, a, stateMerged, "")
		expect(t, u, late, stateMerged, "")
		expect(t, u, b, stateWaiting, "")
		sameContent(t, bkt, want)
	})
}

// recut gives a block a ULID of now, as a clock of the test's own needs it.
func recut(t *testing.T, dir string, id ulid.ULID) ulid.ULID {
	t.Helper()
	now := ulid.MustNew(ulid.Now(), ulid.DefaultEntropy())
	if err := os.Rename(filepath.Join(dir, id.String()), filepath.Join(dir, now.String())); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, now.String(), "meta.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, now.String(), "meta.json"), []byte(strings.ReplaceAll(string(raw), id.String(), now.String())), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestDeletedSamples are not brought back by an upload.
func TestDeletedSamples(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a", "b")
		b, err := tsdb.OpenBlock(nil, filepath.Join(dir, a.String()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Delete(t.Context(), origin, origin+hour-1, labels.MustNewMatcher(labels.MatchEqual, "__name__", "b")), b.Close()); err != nil {
			t.Fatal(err)
		}
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateMerged, "")
		got, _ := fetch(t, bkt)
		if len(got[`{__name__="a"}`]) != 480 || len(got[`{__name__="b"}`]) != 240 {
			t.Errorf("%d and %d samples", len(got[`{__name__="a"}`]), len(got[`{__name__="b"}`]))
		}
	})
}
