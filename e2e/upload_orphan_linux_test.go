package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Two Prometheus servers are killed under load, and do not come back. The log of one is
// torn at a random byte, and its sidecar lives on; of the other only the sidecar is
// started again, on a disk that is full where that can be had. Both sidecars flush by
// themselves, every record before the tear, and as soon as there is room.
func TestUploadOrphans(t *testing.T) {
	t.Parallel()
	u := newUploading(t, 2, (*rig).filesystem)
	torn, whole := u.Pairs[0], u.Pairs[1]
	data := filepath.Join(whole.Dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	small := u.disk(data, diskSize) != nil
	u.up(u.Pairs...)
	u.disordered(u.Pairs...)
	u.loaded(torn, enough/2)
	before := u.loaded(whole, enough/2)
	torn.Prometheus.Kill()
	whole.Kill()
	killed := time.Now()

	seed := uint64(killed.UnixNano())
	log, offset, end := u.tear(torn, rand.New(rand.NewPCG(seed, 0)))
	asTorn, upToTear, twin := u.copied(torn, "torn"), u.copied(torn, "up-to-tear"), u.copied(whole, "whole")
	if err := os.Truncate(filepath.Join(upToTear, log), end); err != nil {
		t.Fatal(err)
	}
	free := func() {}
	if small {
		free = u.fill(data)
	}
	if err := whole.Sidecar.Start(); err != nil {
		t.Fatal(err)
	}
	if small {
		u.noRoom(whole)
	}
	free()
	for _, p := range u.Pairs {
		u.flushedAlone(p)
	}
	took := since(killed)

	all, raw := u.left(torn, upToTear)
	u.kept(u.recovered(torn, asTorn), all)
	wholeAll, wholeRaw := u.left(whole, twin)
	u.kept(before, wholeAll)
	u.measured("the log was torn at byte %d, seed %d: %d samples of it and of a whole one, of %d, were flushed and up %s after the kill",
		offset, seed, all.count(), wholeAll.count(), took)
	all.add(wholeAll)
	u.compacts()
	u.holds(all, raw.count()+wholeRaw.count())
}

// tear damages the last segment of the log that the pair's Prometheus has left, at a
// random byte. It returns the segment's name in the pair's directory, the byte, and where
// the last whole record before it ends.
func (u *uploading) tear(p *Pair, random *rand.Rand) (segment string, offset, end int64) {
	u.Helper()
	dir := filepath.Join(p.Dir, "data", "wal")
	_, last, err := wlog.Segments(dir)
	if err != nil {
		u.Fatal(err)
	}
	path := wlog.SegmentName(dir, last)
	text, err := os.ReadFile(path)
	if err != nil {
		u.Fatal(err)
	}
	offset = int64(len(text))/2 + random.Int64N(int64(len(text))/2)
	how := random.IntN(3)
	switch how {
	case 0:
		text = text[:offset]
	case 1:
		text[offset] ^= 0x55
	case 2:
		clear(text[offset:])
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		u.Fatal(err)
	}
	s, err := wlog.OpenReadSegment(path)
	if err != nil {
		u.Fatal(err)
	}
	defer s.Close()
	for r := wlog.NewReader(s); r.Next(); {
		end = r.Offset()
	}
	u.event("of %d bytes of the log, torn at %d by %s, the first %d are whole records", len(text), offset, []string{"truncation", "a flipped byte", "zeros"}[how], end)
	return filepath.Join("data", "wal", filepath.Base(path)), offset, end
}

// recovered is what a real Prometheus finds in dir, torn as it is.
func (u *uploading) recovered(p *Pair, dir string) stored {
	u.Helper()
	all, _ := u.left(p, dir)
	u.event("of it a Prometheus recovers %d samples", all.count())
	return all
}

// noRoom waits until the pair's sidecar says that there is no room for a flush.
func (u *uploading) noRoom(p *Pair) {
	u.Helper()
	u.await(4*time.Minute, "refused", func() error {
		st, err := p.uploads(u.Context())
		if err == nil && (st.Flush.State != "failed" || !full.MatchString(st.Flush.Error)) {
			err = fmt.Errorf("%s: flush: %+v", p.Name, st.Flush)
		}
		return err
	})
}

// flushedAlone waits until the pair's sidecar has flushed the head, and all that is in
// the data directory is up.
func (u *uploading) flushedAlone(p *Pair) {
	u.Helper()
	u.await(4*time.Minute, "flushed", func() error {
		st, err := p.uploads(u.Context())
		switch {
		case err != nil:
			return err
		case st.Flush.State != "done":
			return fmt.Errorf("%s: flush: %+v", p.Name, st.Flush)
		case len(st.Blocks) == 0:
			return errors.New("no blocks")
		}
		for _, b := range st.Blocks {
			if !slices.Contains([]string{"uploaded", "merged", "covered"}, b.State) {
				return fmt.Errorf("%s: block %+v", p.Name, b)
			}
		}
		return nil
	})
	text, err := os.ReadFile(p.Sidecar.Command.Log)
	if err != nil || !strings.Contains(string(text), `msg="the head is cut" state=done`) {
		u.Errorf("the log of %s does not tell of the flush: %v", p.Name, err)
	}
}
