package ship_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-kit/log"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/bucket"
	"github.com/ringside-project/ringside/uploader/ship"
)

// BenchmarkFilesystem compares an upload into a FILESYSTEM bucket with a plain
// copy of the same files to the same file system, once as cp leaves it, in the
// page cache, and once on disk, as an upload leaves it.
func BenchmarkFilesystem(b *testing.B) {
	dir := b.TempDir()
	blk := &block.Block{Dir: dir}
	blk.Meta.BlockMeta = tsdb.BlockMeta{Version: 1, ULID: ulid.MustNew(1, bytes.NewReader(make([]byte, 16))), MaxTime: 1}
	total := int64(0)
	for name, size := range map[string]int64{"chunks/000001": 256 << 20, "chunks/000002": 256 << 20, "index": 64 << 20} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(path)
		if err == nil {
			_, err = io.CopyN(f, rand.Reader, size)
		}
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		total += size
	}
	meta, err := block.Describe(b.Context(), blk, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, how := range []struct {
		name string
		run  func(b *testing.B, to string)
	}{
		{"upload", func(b *testing.B, to string) {
			bkt, err := bucket.Open(&bucket.Config{Type: "FILESYSTEM", Config: map[string]any{"directory": to}}, log.NewNopLogger())
			if err == nil {
				err = ship.New(bkt, 4).Upload(b.Context(), dir, meta, func(int64) {})
			}
			if err != nil {
				b.Fatal(err)
			}
		}},
		{"cp", func(b *testing.B, to string) { copyAll(b, dir, to, meta, false) }},
		{"cp and sync", func(b *testing.B, to string) { copyAll(b, dir, to, meta, true) }},
		{"hash", func(b *testing.B, _ string) {
			if _, err := block.Describe(b.Context(), blk, nil); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(how.name, func(b *testing.B) {
			b.SetBytes(total)
			for b.Loop() {
				b.StopTimer()
				to := b.TempDir()
				b.StartTimer()
				how.run(b, to)
				b.StopTimer()
				os.RemoveAll(to)
				b.StartTimer()
			}
		})
	}
}

func copyAll(b *testing.B, from, to string, meta *block.Meta, sync bool) {
	for _, f := range meta.Thanos.Files {
		if f.Hash == nil {
			continue
		}
		in, err := os.Open(filepath.Join(from, f.RelPath))
		if err != nil {
			b.Fatal(err)
		}
		out := filepath.Join(to, f.RelPath)
		if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
			b.Fatal(err)
		}
		w, err := os.Create(out)
		if err == nil {
			_, err = io.Copy(w, in)
		}
		if err == nil && sync {
			err = w.Sync()
		}
		if err != nil {
			b.Fatal(err)
		}
		in.Close()
		w.Close()
	}
}
