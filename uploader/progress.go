package uploader

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/thanos-io/objstore"
)

// Progress grows with each request that the bucket serves, with each byte that
// is read from it or sent, and all the while that a head is cut, or a block is
// read through or merged, which come to an end by themselves. What has failed a
// few times, and another look at the bucket, count only as far as they go further
// than before.
func (u *Uploader) Progress() int64 { return u.steps.Load() }

// freeTries is how many attempts at one thing count in full. A bucket that reads
// and does not write would be progress for ever otherwise.
const freeTries = 4

// pace is how far an attempt has come.
type pace struct {
	total  *atomic.Int64
	before int64 // steps of earlier attempts, which do not count again
	steps  atomic.Int64
}

func (p *pace) step(n int64) {
	now := p.steps.Add(n)
	if further := min(n, now-p.before); further > 0 {
		p.total.Add(further)
	}
}

// during counts the time that work takes, a step a second.
func (p *pace) during(work func()) {
	defer every(time.Second, func() { p.step(1) })()
	work()
}

// every does what once an interval until stop is called, which waits for one that
// is under way.
func every(interval time.Duration, what func()) (stop func()) {
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-ticker.C:
				what()
			}
		}
	}()
	return func() {
		close(stopped)
		<-ended
	}
}

type paceKey struct{}

// paced gives requests under ctx their pace.
func paced(ctx context.Context, p *pace) context.Context { return context.WithValue(ctx, paceKey{}, p) }

// stepping is a bucket that tells the pace of a request's context what is served.
type stepping struct{ objstore.Bucket }

func (b *stepping) served(ctx context.Context, err error) {
	if p, _ := ctx.Value(paceKey{}).(*pace); p != nil && (err == nil || b.IsObjNotFoundErr(err)) {
		p.step(1)
	}
}

func (b *stepping) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	err := b.Bucket.Iter(ctx, dir, func(name string) error {
		b.served(ctx, nil)
		return f(name)
	}, o...)
	b.served(ctx, err)
	return err
}

func (b *stepping) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.Bucket.Get(ctx, name)
	b.served(ctx, err)
	if p, _ := ctx.Value(paceKey{}).(*pace); p != nil && err == nil {
		r = &steppingBody{r, p}
	}
	return r, err
}

func (b *stepping) Exists(ctx context.Context, name string) (bool, error) {
	ok, err := b.Bucket.Exists(ctx, name)
	b.served(ctx, err)
	return ok, err
}

func (b *stepping) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	a, err := b.Bucket.Attributes(ctx, name)
	b.served(ctx, err)
	return a, err
}

func (b *stepping) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	err := b.Bucket.Upload(ctx, name, r, o...)
	b.served(ctx, err)
	return err
}

func (b *stepping) Delete(ctx context.Context, name string) error {
	err := b.Bucket.Delete(ctx, name)
	b.served(ctx, err)
	return err
}

// steppingBody is what is read from a bucket.
type steppingBody struct {
	io.ReadCloser
	pace *pace
}

func (r *steppingBody) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.pace.step(int64(n))
	return n, err
}
