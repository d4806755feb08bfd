package uploader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/block"
)

// found is a block on this side.
type found struct {
	*block.Block      // the staged one, where there is one
	inData       bool // Prometheus has it
	staged       bool
	deletions    bool // some of its samples are marked as deleted
	seen         time.Time
	changed      time.Time // its meta.json, as of which Block is
	written      time.Time // the same of the one in data
	original     time.Time // the same as of the last adjust
}

// inventory is what there is on this side. Blocks do not change but for their
// meta.json, so that those that were read once are kept.
type inventory struct {
	staging *staging
	blocks  map[ulid.ULID]*found
	broken  map[ulid.ULID]error // directories whose meta.json cannot be read
}

// scan brings the inventory up to date. On an error it stays as it was: a
// directory that cannot be listed is not an empty one.
func (v *inventory) scan(now time.Time) error {
	next := &inventory{staging: v.staging, blocks: map[ulid.ULID]*found{}, broken: map[ulid.ULID]error{}}
	staged, err := blockDirs(v.staging.upload)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	local, err := blockDirs(v.staging.dataDir)
	if err != nil {
		return err
	}
	for _, id := range staged {
		next.take(v, id, true, now)
	}
	for _, id := range local {
		next.take(v, id, false, now)
	}
	*v = *next
	return nil
}

// take adds a block that was found, from old if nothing has happened to it.
func (v *inventory) take(old *inventory, id ulid.ULID, staged bool, now time.Time) {
	if f := v.blocks[id]; f != nil && !staged {
		f.inData = true // the staged one counts: it does not go away
		v.adjust(f)
		return
	}
	dir := filepath.Join(v.staging.dataDir, id.String())
	if staged {
		dir = filepath.Join(v.staging.upload, id.String())
	}
	info, err := os.Stat(filepath.Join(dir, "meta.json"))
	if err != nil {
		if !staged && abandoned(dir, err, now) {
			v.broken[id] = errNoMeta
		}
		return // not finished yet, or just removed
	}
	before := old.blocks[id]
	if before != nil && before.staged == staged && before.changed.Equal(info.ModTime()) {
		same := *before
		same.inData = !staged
		v.blocks[id] = &same
		return
	}
	b, err := block.Read(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		v.broken[id] = err
		return
	case b.Meta.Compaction.Deletable:
		return // nothing is left in it
	}
	f := &found{Block: b, inData: !staged, staged: staged, seen: now, changed: info.ModTime()}
	if before != nil {
		f.seen = before.seen
	}
	if !staged {
		f.written = f.changed
	}
	f.deletions, _ = b.Tombstones() // one that cannot be read Check finds
	v.blocks[id] = f
}

var errNoMeta = errors.New("it has no meta.json")

// abandoned tells whether nobody is at the directory, which has no meta.json.
func abandoned(dir string, missing error, now time.Time) bool {
	info, err := os.Stat(dir)
	return errors.Is(missing, fs.ErrNotExist) && err == nil && now.Sub(info.ModTime()) >= goneAfter
}

// adjust ends a staged block where a flush has ended the original: one that holds
// a part of the head reaches to the end of its window until then.
func (v *inventory) adjust(f *found) {
	dir := filepath.Join(v.staging.dataDir, f.Meta.ULID.String())
	info, err := os.Stat(filepath.Join(dir, "meta.json"))
	if err != nil {
		return
	}
	f.written = info.ModTime()
	if len(f.Meta.Compaction.Hints) == 0 || f.written.Equal(f.original) {
		return
	}
	original, err := block.Read(dir)
	if err != nil {
		return // it is on its way out
	}
	if end := original.Meta.MaxTime; end != f.Meta.MaxTime {
		adjusted := *f.Block // jobs have the old one
		adjusted.Meta.MaxTime = end
		if adjusted.WriteMeta() != nil {
			return // the next scan tries again
		}
		f.Block = &adjusted
	}
	f.original = f.written
}

// blockDirs names the blocks in dir.
func blockDirs(dir string) ([]ulid.ULID, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []ulid.ULID
	for _, e := range entries {
		if id, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
