package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-kit/log"
	"github.com/google/renameio/v2"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/filesystem"
	"go.yaml.in/yaml/v3"
)

const (
	component = "ringside"  // how a provider's requests name their sender
	scratch   = ".ringside" // a bucket's directory for what is not whole yet; nobody takes it for a block
	abandoned = 24 * time.Hour
)

// whole is a FILESYSTEM bucket whose objects appear whole or not at all, and
// are on disk once Upload returns: objstore's own writes them in place, so that
// a process killed in between leaves a meta.json that is cut.
type whole struct {
	*filesystem.Bucket
	dir string
}

func newFilesystem(_ log.Logger, config []byte) (objstore.Bucket, error) {
	var c filesystem.Config
	if err := yaml.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(c.Directory)
	if err != nil {
		return nil, err
	}
	b, err := filesystem.NewBucket(dir)
	if err != nil {
		return nil, err
	}
	clean(filepath.Join(dir, scratch))
	return &whole{Bucket: b, dir: dir}, nil
}

// clean removes what processes that were killed left in dir. Others may be
// using it now.
func clean(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Upload writes the object elsewhere in the bucket's directory and moves it to
// its place. Not beside it: Thanos takes whatever lies in chunks for a segment.
func (b *whole) Upload(ctx context.Context, name string, r io.Reader, _ ...objstore.ObjectUploadOption) error {
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	tmp := filepath.Join(b.dir, scratch)
	for _, dir := range []string{filepath.Dir(path), tmp} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o666), renameio.WithTempDir(tmp))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, fast := r.(io.WriterTo); !fast {
		r = &interruptible{ctx, r}
	}
	if _, err := io.Copy(&eager{File: f.File}, r); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// eager is a new file that goes to disk while it is being written, so that little
// is left for the sync at its end.
type eager struct {
	*os.File
	off int64
}

// ReadFrom is how a copy within the kernel writes.
func (e *eager) ReadFrom(r io.Reader) (int64, error) {
	n, err := e.File.ReadFrom(r)
	startWriteback(e.File, e.off, n)
	e.off += n
	return n, err
}

// interruptible ends a copy when its context does.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.Reader.Read(p)
}

// syncDir puts a rename in dir on disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
