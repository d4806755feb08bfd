// Package faulty is a bucket for tests: at a request of choice it fails before
// or after the fact, cuts the body, or hangs until the caller gives up. From a
// kill on it serves nothing any more.
package faulty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/thanos-io/objstore"
)

// Mode is what happens at the request of choice.
type Mode int

// The modes.
const (
	None   Mode = iota
	Before      // an error, and nothing has happened
	After       // an error, and what was asked for has happened
	Cut         // half of the body, then an error; of a put nothing is stored
	Torn        // the same, and half of a put is stored
	Hang        // no answer until the caller gives up
	Kill        // an error for this request and for all that follow
)

// Modes are all but None.
var Modes = []Mode{Before, After, Cut, Torn, Hang, Kill}

func (m Mode) String() string {
	return [...]string{"none", "before", "after", "cut", "torn", "hang", "kill"}[m]
}

// Err is the error of a request that goes wrong.
var Err = errors.New("the bucket has a fault")

// Bucket is a bucket whose request number At, from 1 on, goes wrong by Mode.
type Bucket struct {
	objstore.Bucket
	At   int
	Mode Mode

	mu       sync.Mutex
	requests []string
}

// Requests are the requests so far.
func (b *Bucket) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.requests...)
}

// next counts a request and tells what is to happen to it.
func (b *Bucket) next(format string, args ...any) Mode {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, fmt.Sprintf(format, args...))
	switch n := len(b.requests); {
	case b.Mode == None, n < b.At:
		return None
	case n == b.At, b.Mode == Kill:
		return b.Mode
	}
	return None
}

// do serves a request that has no body.
func (b *Bucket) do(ctx context.Context, mode Mode, serve func() error) error {
	switch mode {
	case None:
		return serve()
	case After:
		return errors.Join(Err, serve())
	case Hang:
		<-ctx.Done()
		return ctx.Err()
	}
	return Err
}

// Iter lists.
func (b *Bucket) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	return b.do(ctx, b.next("list %s", dir), func() error { return b.Bucket.Iter(ctx, dir, f, o...) })
}

// Exists looks for an object.
func (b *Bucket) Exists(ctx context.Context, name string) (there bool, err error) {
	err = b.do(ctx, b.next("exists %s", name), func() error {
		there, err = b.Bucket.Exists(ctx, name)
		return err
	})
	return there, err
}

// Attributes looks at an object.
func (b *Bucket) Attributes(ctx context.Context, name string) (a objstore.ObjectAttributes, err error) {
	err = b.do(ctx, b.next("attributes %s", name), func() error {
		a, err = b.Bucket.Attributes(ctx, name)
		return err
	})
	return a, err
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return b.do(ctx, b.next("delete %s", name), func() error { return b.Bucket.Delete(ctx, name) })
}

// Upload stores an object.
func (b *Bucket) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	mode := b.next("put %s", name)
	if mode != Cut && mode != Torn {
		return b.do(ctx, mode, func() error { return b.Bucket.Upload(ctx, name, r, o...) })
	}
	body, err := io.ReadAll(r)
	if err == nil && mode == Torn {
		err = b.Bucket.Upload(ctx, name, bytes.NewReader(body[:len(body)/2]), o...)
	}
	return errors.Join(Err, err)
}

// Get reads an object.
func (b *Bucket) Get(ctx context.Context, name string) (r io.ReadCloser, err error) {
	mode := b.next("get %s", name)
	if mode == Before || mode == Kill {
		return nil, Err
	}
	if r, err = b.Bucket.Get(ctx, name); err != nil || mode == None {
		return r, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return io.NopCloser(&broken{ctx: ctx, rest: body[:len(body)/2], hang: mode == Hang}), err
}

// broken is the body of an object that ends too early.
type broken struct {
	ctx  context.Context
	rest []byte
	hang bool
}

func (b *broken) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.hang {
			<-b.ctx.Done()
			return 0, b.ctx.Err()
		}
		return 0, Err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Break lets the next request go wrong by mode.
func (b *Bucket) Break(mode Mode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.At, b.Mode = len(b.requests)+1, mode
}

// Mend ends what goes wrong.
func (b *Bucket) Mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Mode = None
}
