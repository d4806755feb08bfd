package block

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// Meta is the meta.json of a block in a bucket: Prometheus's own, and what
// Thanos needs to know beside it.
type Meta struct {
	tsdb.BlockMeta
	Thanos Thanos `json:"thanos"`
}

// Thanos is the section that Thanos adds to a meta.json, as of its version 1.
type Thanos struct {
	Version      int               `json:"version,omitempty"`
	Labels       map[string]string `json:"labels"` // external labels
	Downsample   Downsample        `json:"downsample"`
	Source       string            `json:"source"`
	SegmentFiles []string          `json:"segment_files,omitempty"` // names of the files in chunks, sorted
	Files        []File            `json:"files,omitempty"`         // all of them, sorted by RelPath
	UploadTime   time.Time         `json:"upload_time,omitzero"`
	Extensions   Extensions        `json:"extensions,omitzero"`
}

// source says that a block comes from beside a Prometheus.
const source = "sidecar"

// Extensions is where Thanos leaves room for others. Theirs are dropped.
type Extensions struct {
	// MadeOf are the blocks of Prometheus's whose samples, all or some, a merged
	// block has; nil: its sources. Those are only what it has all samples of: whatever
	// has no other sources Thanos takes for a leftover, and removes.
	MadeOf []ulid.ULID `json:"ringside_made_of,omitempty"`
}

// UnmarshalJSON takes no offence at what others have put there.
func (e *Extensions) UnmarshalJSON(raw []byte) error {
	type plain Extensions
	if json.Unmarshal(raw, (*plain)(e)) != nil {
		*e = Extensions{}
	}
	return nil
}

// Downsample tells in which resolution a block holds its samples.
type Downsample struct {
	Resolution int64 `json:"resolution"` // ms; 0: as they were scraped
}

// File is one file of a block.
type File struct {
	RelPath   string `json:"rel_path"`
	SizeBytes int64  `json:"size_bytes,omitempty"` // not given of meta.json itself
	Hash      *Hash  `json:"hash,omitempty"`
}

// Hash is the digest of a file's contents.
type Hash struct {
	Func  string `json:"hashFunc"` // SHA256
	Value string `json:"value"`    // in hexadecimal
}

// Describe gives the meta.json that is to go with the files of the block into the
// bucket, with those of their hashes that b's own has; File.TakeHash takes the
// others. Of the time of the upload it says nothing yet.
func Describe(b *Block, labels map[string]string) (*Meta, error) {
	files, err := list(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	m := &Meta{BlockMeta: b.Meta.BlockMeta}
	m.Thanos = Thanos{Version: 1, Labels: maps.Clone(labels), Source: source, Extensions: b.Meta.Thanos.Extensions}
	for _, f := range files {
		f.Hash = b.Meta.Thanos.hashOf(f)
		m.Thanos.Files = append(m.Thanos.Files, f)
		if dir, name := path.Split(f.RelPath); strings.TrimSuffix(dir, "/") == chunksName {
			m.Thanos.SegmentFiles = append(m.Thanos.SegmentFiles, name)
		}
	}
	// In the order of names meta.json comes last: chunks/…, index, meta.json.
	m.Thanos.Files = append(m.Thanos.Files, File{RelPath: metaName})
	return m, nil
}

// hashOf is what is known of the hash of a file of that name and size; nil: nothing.
func (t *Thanos) hashOf(f File) *Hash {
	for _, known := range t.Files {
		if known.RelPath == f.RelPath && known.SizeBytes == f.SizeBytes {
			return known.Hash
		}
	}
	return nil
}

// Encode renders the meta.json as Thanos does.
func (m *Meta) Encode() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "\t")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("render meta.json: %w", err)
	}
	return out.Bytes(), nil
}

// TakeHash sets the hash of the file, which is at path, unless it is set.
func (f *File) TakeHash(ctx context.Context, path string) error {
	if f.Hash != nil {
		return nil
	}
	contents, err := os.Open(path)
	if err != nil {
		return err
	}
	defer contents.Close()
	f.Hash, err = HashOf(ctx, contents)
	return err
}

// HashOf reads r to its end, or until ctx ends.
func HashOf(ctx context.Context, r io.Reader) (*Hash, error) {
	digest := sha256.New()
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(buf)
		digest.Write(buf[:n])
		switch {
		case err == io.EOF:
			return &Hash{Func: "SHA256", Value: hex.EncodeToString(digest.Sum(nil))}, nil
		case err != nil:
			return nil, err
		}
	}
}
