package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
)

const (
	metaName = "meta.json"
	maxMeta  = 64 << 20 // bytes; of a block with a hundred thousand sources it has a few
	copyStep = 8 << 20  // bytes between two looks at the context
)

// object is a file of a block and its name in the bucket.
type object struct {
	file       *block.File // whose hash is not known, perhaps
	name, path string
}

// put sends the file unless the bucket holds it already, and has its hash in the
// end. Of another run's uploads nothing is known, so that they are read back to
// make sure; what this one has put is measured in the end.
func (s *Shipper) put(ctx context.Context, o object, held bool, sent func(int64)) error {
	s.mu.Lock()
	own := s.sent[o.name]
	s.mu.Unlock()
	there := held && own
	if held && !own {
		same, err := s.same(ctx, o)
		if err != nil {
			return fmt.Errorf("compare %s: %w", o.name, err)
		}
		if there = same; same {
			s.note(o)
		}
	}
	if there {
		sent(o.file.SizeBytes)
		return o.file.TakeHash(ctx, o.path)
	}
	hashed := make(chan error, 1)
	go func() { hashed <- o.file.TakeHash(ctx, o.path) }()
	err := s.send(ctx, o, sent)
	return errors.Join(err, <-hashed)
}

// send puts the file into the bucket.
func (s *Shipper) send(ctx context.Context, o object, sent func(int64)) error {
	f, err := os.Open(o.path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = watched(ctx, func(ctx context.Context, progress func(int64)) error {
		return s.bucket.Upload(ctx, o.name, &source{ctx: ctx, file: f, size: o.file.SizeBytes, progress: func(n int64) {
			progress(n)
			sent(n)
		}})
	})
	if err != nil {
		return fmt.Errorf("put %s: %w", o.name, err)
	}
	s.note(o)
	return nil
}

// note has the next attempt believe that the object is there.
func (s *Shipper) note(o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[o.name] = true
}

// same tells whether the bucket's object has the file's size and contents.
func (s *Shipper) same(ctx context.Context, o object) (bool, error) {
	size, err := s.size(ctx, o.name)
	if missing(s.bucket, err) {
		return false, nil
	}
	if err != nil || size != o.file.SizeBytes {
		return false, err
	}
	if err := o.file.TakeHash(ctx, o.path); err != nil {
		return false, err
	}
	hash, err := hashOf(ctx, s.bucket, o.name)
	return err == nil && *hash == *o.file.Hash, err
}

// hashOf reads an object.
func hashOf(ctx context.Context, bkt objstore.BucketReader, name string) (hash *block.Hash, err error) {
	err = watched(ctx, func(ctx context.Context, progress func(int64)) error {
		r, err := bkt.Get(ctx, name)
		if err != nil {
			return err
		}
		defer r.Close()
		hash, err = block.HashOf(ctx, &counted{r, progress})
		return err
	})
	return hash, err
}

// watched ends a transfer that makes no progress for stallTimeout.
func watched(ctx context.Context, transfer func(ctx context.Context, progress func(int64)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("no progress for %s", stallTimeout)
	timer := time.AfterFunc(stallTimeout, func() { cancel(stalled) })
	defer timer.Stop()
	err := transfer(ctx, func(int64) { timer.Reset(stallTimeout) })
	if err != nil && context.Cause(ctx) == stalled {
		return fmt.Errorf("%w: %v", stalled, err) // not a context.Canceled: nobody has ended ctx
	}
	return err
}

type counted struct {
	io.Reader
	progress func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.progress(int64(n))
	return n, err
}

// source is a file that is being sent. Providers find its size, read it from
// several places at once, rewind it, or have it copied within the kernel.
type source struct {
	ctx      context.Context
	file     *os.File
	size     int64
	progress func(int64)
	told     atomic.Int64
}

// ObjectSize is the file's size, for objstore.
func (s *source) ObjectSize() (int64, error) { return s.size, nil }

// count tells of n bytes, but never of more than there are: a provider that
// tries a part again reads it again.
func (s *source) count(n int) {
	if n <= 0 {
		return
	}
	told := s.told.Add(int64(n))
	s.progress(max(0, int64(n)-max(0, told-s.size)))
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.file.Read(p)
	s.count(n)
	return n, err
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.file.ReadAt(p, off)
	s.count(n)
	return n, err
}

func (s *source) Seek(offset int64, whence int) (int64, error) { return s.file.Seek(offset, whence) }

// WriteTo lets a copy to another file happen within the kernel.
func (s *source) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := s.ctx.Err(); err != nil {
			return total, err
		}
		n, err := io.CopyN(w, s.file, copyStep)
		s.count(int(n))
		total += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// readAll reads a small object.
func readAll(ctx context.Context, bkt objstore.BucketReader, name string) ([]byte, error) {
	r, err := bkt.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxMeta+1))
	if err == nil && len(raw) > maxMeta {
		err = fmt.Errorf("more than %d bytes", maxMeta)
	}
	return raw, err
}
