// Package ship carries one block into a bucket so that its meta.json is there
// only if all of the block is: first chunks and index, then a look at what the
// bucket holds, and meta.json last. It goes on where an earlier attempt ended,
// and says of a whole bucket, for a person, what is in it. Which block goes up,
// and when it is tried again, others decide.
package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
)

const (
	// askTimeout bounds requests that carry no block.
	askTimeout = time.Minute
	// stallTimeout is how long an upload may go on without a byte. The last one
	// is followed by the answer, for which S3 may have to join thousands of parts.
	// Who waits for the end of it waits longer than that.
	stallTimeout = 90 * time.Second
)

// Shipper carries blocks into a bucket. Many may be under way at once.
type Shipper struct {
	bucket objstore.Bucket
	slots  chan struct{} // one for each file under way, of whatever block

	mu   sync.Mutex
	sent map[string]bool // objects that this Shipper has put, or found to be the same, of blocks that are not whole yet
}

// New makes a Shipper that sends so many files at once.
func New(bucket objstore.Bucket, files int) *Shipper {
	return &Shipper{bucket: bucket, slots: make(chan struct{}, files), sent: map[string]bool{}}
}

// Upload puts the block in dir into the bucket, as meta describes it with the
// files' sizes; hashes that it lacks are taken while the files are on their way,
// and set in it, whether all goes well or not. It returns nil when all of the
// block is there, also if it was before. Each byte that is sent, or found to be
// there already, is told to sent; many files do so at once.
func (s *Shipper) Upload(ctx context.Context, dir string, meta *block.Meta, sent func(bytes int64)) error {
	id := meta.ULID
	if there, err := s.whole(ctx, id); err != nil || there {
		return err
	}
	held, err := objects(ctx, s.bucket, id)
	if err != nil {
		return fmt.Errorf("list %s: %w", id, err)
	}
	var (
		sending sync.WaitGroup
		failed  = make([]error, len(meta.Thanos.Files))
	)
	for i := range meta.Thanos.Files {
		f := &meta.Thanos.Files[i]
		if f.RelPath == metaName {
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			failed[i] = ctx.Err()
			continue
		}
		sending.Go(func() {
			defer func() { <-s.slots }()
			o := object{file: f, name: path.Join(id.String(), f.RelPath), path: filepath.Join(dir, filepath.FromSlash(f.RelPath))}
			failed[i] = s.put(ctx, o, held[o.name], sent)
		})
	}
	sending.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := s.verify(ctx, id, meta.Thanos.Files); err != nil {
		s.forget(id) // what was put is not what is there: look at it again
		return err
	}
	if err := s.finish(ctx, meta); err != nil {
		return err
	}
	s.forget(id)
	return nil
}

func (s *Shipper) forget(id ulid.ULID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.sent, func(name string, _ bool) bool { return strings.HasPrefix(name, id.String()) })
}

// whole tells whether the block's meta.json is in the bucket. One that cannot
// be read as such, cut by somebody who wrote it in place, is as good as none.
func (s *Shipper) whole(ctx context.Context, id ulid.ULID) (bool, error) {
	there, err := ask(ctx, func(ctx context.Context) (bool, error) { return s.bucket.Exists(ctx, path.Join(id.String(), metaName)) })
	if err != nil {
		return false, fmt.Errorf("look for %s/meta.json: %w", id, err)
	}
	if !there {
		return false, nil
	}
	_, err = readMeta(ctx, s.bucket, id)
	if cut := (*notMeta)(nil); errors.As(err, &cut) {
		return false, nil
	}
	return err == nil, err
}

// objects gives the names of the objects that the bucket has of a block.
func objects(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (map[string]bool, error) {
	return ask(ctx, func(ctx context.Context) (map[string]bool, error) {
		names := map[string]bool{}
		return names, bkt.Iter(ctx, id.String()+objstore.DirDelim, func(name string) error {
			names[name] = true
			return nil
		}, objstore.WithRecursiveIter())
	})
}

// verify compares what is in the bucket now with the sizes that it should have.
func (s *Shipper) verify(ctx context.Context, id ulid.ULID, files []block.File) error {
	for _, f := range files {
		if f.RelPath == metaName {
			continue
		}
		name := path.Join(id.String(), f.RelPath)
		size, err := s.size(ctx, name)
		if err != nil {
			return fmt.Errorf("verify %s: %w", name, err)
		}
		if size != f.SizeBytes {
			return fmt.Errorf("verify %s: the bucket holds %d bytes of %d", name, size, f.SizeBytes)
		}
	}
	return nil
}

func (s *Shipper) size(ctx context.Context, name string) (int64, error) {
	attributes, err := ask(ctx, func(ctx context.Context) (objstore.ObjectAttributes, error) { return s.bucket.Attributes(ctx, name) })
	return attributes.Size, err
}

// finish puts meta.json. A request that failed may have been served all the
// same, so that only another look tells.
func (s *Shipper) finish(ctx context.Context, meta *block.Meta) error {
	last := *meta
	last.Thanos.UploadTime = time.Now().UTC().Truncate(time.Millisecond)
	raw, err := last.Encode()
	if err != nil {
		return err
	}
	name := path.Join(meta.ULID.String(), metaName)
	_, err = ask(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.Upload(ctx, name, bytes.NewReader(raw))
	})
	if err == nil {
		return nil
	}
	if there, again := s.whole(ctx, meta.ULID); again == nil && there {
		return nil
	}
	return fmt.Errorf("put %s: %w", name, err)
}

// ask bounds a request that carries no block.
func ask[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := request(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("no answer within %s: %w", askTimeout, err)
	}
	return answer, err
}

// readMeta reads the meta.json of a block in a bucket.
func readMeta(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (*block.Meta, error) {
	name := path.Join(id.String(), metaName)
	raw, err := ask(ctx, func(ctx context.Context) ([]byte, error) { return readAll(ctx, bkt, name) })
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	m, err := block.Decode(raw)
	if err == nil && m.ULID != id {
		err = fmt.Errorf("it is of block %s", m.ULID)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, &notMeta{err})
	}
	return m, nil
}

// notMeta is the error for an object that is there and no meta.json of its block.
type notMeta struct{ error }

func (n *notMeta) Unwrap() error { return n.error }

// blockOf is the block whose directory in a bucket has the name.
func blockOf(name string) (ulid.ULID, bool) {
	id, err := ulid.ParseStrict(strings.TrimSuffix(name, objstore.DirDelim))
	return id, err == nil
}
