// Package block reads a TSDB block on disk: what its meta.json tells of it,
// whether its index and chunks are whole and readable by others, and the
// meta.json that it gets in a bucket in Thanos's layout. What is to become of a
// block, and when, package plan decides.
package block

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// The names within a block's directory.
const (
	metaName       = "meta.json"
	indexName      = "index"
	chunksName     = "chunks"
	tombstonesName = "tombstones"
)

// Block is a block's directory as its meta.json tells of it.
type Block struct {
	Dir   string
	Meta  Meta  // without Thanos's section in a block of Prometheus's own
	Bytes int64 // of index and chunks
}

// Read reads the meta.json of the block in dir, whose last element is its ULID.
// The error is an fs.ErrNotExist while Prometheus has not finished the block,
// or when it has just removed it.
func Read(dir string) (*Block, error) {
	raw, err := os.ReadFile(filepath.Join(dir, metaName))
	if err != nil {
		return nil, err
	}
	meta, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, metaName), err)
	}
	if name := filepath.Base(dir); meta.ULID.String() != name {
		return nil, fmt.Errorf("%s: it is of block %s", filepath.Join(dir, metaName), meta.ULID)
	}
	b := &Block{Dir: dir, Meta: *meta}
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b.Bytes += f.SizeBytes
	}
	return b, nil
}

// Decode reads a meta.json, of Prometheus or with Thanos's section.
func Decode(raw []byte) (*Meta, error) {
	m := &Meta{}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("not a block's meta.json: %w", err)
	}
	switch {
	case m.Version != 1:
		return nil, fmt.Errorf("version %d of meta.json; only 1 is known", m.Version)
	case m.Thanos.Version > 1:
		return nil, fmt.Errorf("version %d of Thanos's section of meta.json; only 1 is known", m.Thanos.Version)
	case m.MinTime >= m.MaxTime:
		return nil, fmt.Errorf("meta.json: minTime %d is not before maxTime %d", m.MinTime, m.MaxTime)
	}
	if s := m.Thanos.Source; s != "" && s != source {
		m.Thanos.Extensions = Extensions{} // Thanos's compactor copies those of any block of a group to all that it makes
	}
	return m, nil
}

// list gives the files that make up the block in dir, without meta.json and
// with slashes in their names, sorted: what is to be in a bucket before
// meta.json is. It takes no hashes.
func list(dir string) ([]File, error) {
	entries, err := os.ReadDir(filepath.Join(dir, chunksName))
	if err != nil {
		return nil, err
	}
	var files []File
	add := func(rel string) error {
		info, err := os.Stat(filepath.Join(dir, rel))
		if err != nil {
			return err
		}
		files = append(files, File{RelPath: filepath.ToSlash(rel), SizeBytes: info.Size()})
		return nil
	}
	for _, e := range entries {
		if err := add(filepath.Join(chunksName, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, add(indexName)
}

// Origins are the blocks cut from heads that b was compacted from, or merged of,
// be it parts of them; none of a block that was cut from a head itself.
func (b *Block) Origins() []ulid.ULID {
	if made := b.Meta.Thanos.Extensions.MadeOf; len(made) > 0 {
		return slices.Clone(made)
	}
	sources := b.Meta.Compaction.Sources
	if slices.Contains(sources, b.Meta.ULID) {
		return nil
	}
	return slices.Clone(sources)
}

// Replaces are the blocks that Prometheus rewrote as b, to drop deleted samples.
func (b *Block) Replaces() []ulid.ULID {
	var replaced []ulid.ULID
	for _, p := range b.Meta.Compaction.Parents {
		if len(b.Origins()) == 0 && p.ULID != (ulid.ULID{}) { // blocks of part of a head name a zero one
			replaced = append(replaced, p.ULID)
		}
	}
	return replaced
}

// Cut is when Prometheus began to write the block.
func (b *Block) Cut() time.Time { return ulid.Time(b.Meta.ULID.Time()) }

// Link puts hard links of b's files into dir, which must not exist, with a
// meta.json of its own: what happens to b from now on happens to it alone. It
// takes the tombstones along, so that a merge leaves out what is deleted.
func (b *Block) Link(dir string, labels map[string]string) (*Block, error) {
	if err := os.MkdirAll(filepath.Join(dir, chunksName), 0o777); err != nil {
		return nil, err
	}
	files, err := list(b.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range append(files, File{RelPath: tombstonesName}) {
		err := os.Link(filepath.Join(b.Dir, f.RelPath), filepath.Join(dir, f.RelPath))
		if err != nil && !(f.RelPath == tombstonesName && os.IsNotExist(err)) {
			return nil, err
		}
	}
	linked := &Block{Dir: dir, Meta: b.Meta, Bytes: b.Bytes}
	if len(labels) > 0 {
		linked.Meta.Thanos = Thanos{Version: 1, Labels: labels, Extensions: b.Meta.Thanos.Extensions}
	}
	return linked, linked.WriteMeta()
}

// WriteMeta writes b's meta.json, whole or not at all.
func (b *Block) WriteMeta() error {
	raw, err := b.Meta.Encode()
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(b.Dir, metaName), raw, 0o666)
}

// Tombstones tells whether some of the block's samples are marked as deleted,
// which nobody who reads a bucket would know.
func (b *Block) Tombstones() (bool, error) {
	marked, _, err := tombstones.ReadTombstones(b.Dir)
	if err != nil {
		return false, err
	}
	return marked.Total() > 0, marked.Close()
}
