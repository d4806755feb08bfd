package uploader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/oklog/ulid/v2"
)

// shipped is thanos.shipper.json: the blocks that the bucket has, by themselves
// or within others. Prometheus, told so by --storage.tsdb.delay-compact-file.path,
// compacts none but those, and all of them while the file is missing. For the
// uploader it is a cache of what the bucket says.
type shipped struct {
	path  string
	ids   map[ulid.ULID]bool
	dirty bool // the file does not say so yet
}

const shippedName = "thanos.shipper.json"

type shippedFile struct {
	Version  int         `json:"version"`
	Uploaded []ulid.ULID `json:"uploaded"`
}

// readShipped reads the file. One that cannot be read as such is as good as none:
// err says so, and the next save replaces it.
func readShipped(dataDir string) (s *shipped, err error) {
	s = &shipped{path: filepath.Join(dataDir, shippedName), ids: map[ulid.ULID]bool{}, dirty: true}
	raw, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	ids, err := decodeShipped(raw)
	if err != nil {
		return s, fmt.Errorf("%s: %w", s.path, err)
	}
	s.ids, s.dirty = ids, false
	return s, nil
}

func decodeShipped(raw []byte) (map[ulid.ULID]bool, error) {
	var f shippedFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("version %d; only 1 is known", f.Version)
	}
	ids := map[ulid.ULID]bool{}
	for _, id := range f.Uploaded {
		ids[id] = true
	}
	return ids, nil
}

func encodeShipped(ids map[ulid.ULID]bool) ([]byte, error) {
	f := shippedFile{Version: 1, Uploaded: slices.SortedFunc(maps.Keys(ids), ulid.ULID.Compare)}
	if f.Uploaded == nil {
		f.Uploaded = []ulid.ULID{}
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	return append(raw, '\n'), err
}

// add notes that the bucket has a block; news tells whether that was not known.
func (s *shipped) add(id ulid.ULID) (news bool) {
	if s.ids[id] {
		return false
	}
	s.ids[id], s.dirty = true, true
	return true
}

// drop forgets a block that the bucket does not have.
func (s *shipped) drop(id ulid.ULID) {
	delete(s.ids, id)
	s.dirty = true
}

// keep drops the entries of blocks that nothing on this side refers to any more.
func (s *shipped) keep(blocks map[ulid.ULID]*found) {
	used := map[ulid.ULID]bool{}
	for id, f := range blocks {
		used[id] = true
		for _, source := range f.Meta.Compaction.Sources {
			used[source] = true
		}
		for _, parent := range f.Meta.Compaction.Parents {
			used[parent.ULID] = true
		}
	}
	before := len(s.ids)
	maps.DeleteFunc(s.ids, func(id ulid.ULID, _ bool) bool { return !used[id] })
	s.dirty = s.dirty || len(s.ids) != before
}

// save writes the file if there is anything new, or if it has gone.
func (s *shipped) save() error {
	if _, err := os.Stat(s.path); err == nil && !s.dirty {
		return nil
	}
	raw, err := encodeShipped(s.ids)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path, raw, 0o666); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return err
	}
	s.dirty = false
	return nil
}
