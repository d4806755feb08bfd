package bucket

import (
	"context"
	"io"
	"sync"

	"github.com/thanos-io/objstore"
)

// late is a bucket whose provider needs the network to open it. The first
// request does that, and later ones do again until it has succeeded: a network
// that is down is an error of a request, as with all other providers.
type late struct {
	kind objstore.ObjProvider
	name string
	open func() (objstore.Bucket, error) // providers give it no context: it may outlive the request

	mu   sync.Mutex
	last *opening // nil: there was none
}

// opening is one attempt. What it came to is there once done is closed.
type opening struct {
	done   chan struct{}
	bucket objstore.Bucket
	err    error
}

// opened gives the provider's own bucket, with the first attempt that succeeds.
// Those who ask meanwhile wait for the same attempt.
func (b *late) opened(ctx context.Context) (objstore.Bucket, error) {
	at := b.attempt()
	select {
	case <-at.done:
		return at.bucket, at.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *late) attempt() *opening {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last != nil && !b.last.failed() {
		return b.last
	}
	at := &opening{done: make(chan struct{})}
	b.last = at
	go func() {
		defer close(at.done)
		at.bucket, at.err = b.open()
	}()
	return at
}

// failed tells whether it has ended, and in vain.
func (o *opening) failed() bool {
	select {
	case <-o.done:
		return o.err != nil
	default:
		return false
	}
}

// there is the provider's own bucket if it is open; nil: it is not.
func (b *late) there() objstore.Bucket {
	b.mu.Lock()
	at := b.last
	b.mu.Unlock()
	if at == nil {
		return nil
	}
	select {
	case <-at.done:
		return at.bucket
	default:
		return nil
	}
}

func (b *late) Provider() objstore.ObjProvider { return b.kind }

func (b *late) Name() string { return b.name }

func (b *late) Close() error {
	if bkt := b.there(); bkt != nil {
		return bkt.Close()
	}
	return nil
}

func (b *late) SupportedIterOptions() []objstore.IterOptionType {
	if bkt := b.there(); bkt != nil {
		return bkt.SupportedIterOptions()
	}
	return nil
}

func (b *late) IsObjNotFoundErr(err error) bool {
	bkt := b.there()
	return bkt != nil && bkt.IsObjNotFoundErr(err)
}

func (b *late) IsAccessDeniedErr(err error) bool {
	bkt := b.there()
	return bkt != nil && bkt.IsAccessDeniedErr(err)
}

func (b *late) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	bkt, err := b.opened(ctx)
	if err != nil {
		return err
	}
	return bkt.Iter(ctx, dir, f, o...)
}

func (b *late) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, o ...objstore.IterOption) error {
	bkt, err := b.opened(ctx)
	if err != nil {
		return err
	}
	return bkt.IterWithAttributes(ctx, dir, f, o...)
}

func (b *late) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	bkt, err := b.opened(ctx)
	if err != nil {
		return nil, err
	}
	return bkt.Get(ctx, name)
}

func (b *late) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	bkt, err := b.opened(ctx)
	if err != nil {
		return nil, err
	}
	return bkt.GetRange(ctx, name, off, length)
}

func (b *late) Exists(ctx context.Context, name string) (bool, error) {
	bkt, err := b.opened(ctx)
	if err != nil {
		return false, err
	}
	return bkt.Exists(ctx, name)
}

func (b *late) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	bkt, err := b.opened(ctx)
	if err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return bkt.Attributes(ctx, name)
}

func (b *late) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	bkt, err := b.opened(ctx)
	if err != nil {
		return err
	}
	return bkt.Upload(ctx, name, r, o...)
}

func (b *late) Delete(ctx context.Context, name string) error {
	bkt, err := b.opened(ctx)
	if err != nil {
		return err
	}
	return bkt.Delete(ctx, name)
}
