package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestBodyIsFree only once every reader of it is closed, however late.
func TestBodyIsFree(t *testing.T) {
	r := newRig(t, "endpoints: [http://a/]")
	var pool bodies
	x := pool.render(batch(t, r, wire.V1, points(3)...), wire.V1, r.edit, nil)
	req := &http.Request{}
	x.attach(req)
	again, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	x.release()
	if x.users.Load() != 2 {
		t.Fatalf("%d users, want the two readers", x.users.Load())
	}
	first, err1 := io.ReadAll(req.Body)
	second, err2 := io.ReadAll(again)
	if err1 != nil || err2 != nil || !bytes.Equal(first, second) || int64(len(first)) != req.ContentLength {
		t.Errorf("read %d and %d bytes of %d, %v, %v", len(first), len(second), req.ContentLength, err1, err2)
	}
	for range 2 {
		req.Body.Close() // a second time changes nothing
	}
	if x.users.Load() != 1 {
		t.Errorf("%d users after one was closed", x.users.Load())
	}
	again.Close()
	if _, err := again.Read(make([]byte, 1)); err == nil || x.users.Load() != 0 {
		t.Errorf("%d users, and a read after Close: %v", x.users.Load(), err)
	}
}

// TestBodiesAreNotMixed: a transport that goes on reading after it has
// answered reads what it was given.
func TestBodiesAreNotMixed(t *testing.T) {
	r := newRig(t, "endpoints: [http://a/]")
	var late sync.WaitGroup
	r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		want := req.Header.Get("X-Want")
		late.Go(func() {
			defer req.Body.Close()
			text, err := io.ReadAll(req.Body)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s2.Decode(nil, text); err != nil || len(text) != int(req.ContentLength) {
				t.Errorf("read %d bytes of %d that do not decode: %v%s", len(text), req.ContentLength, err, want)
			}
		})
		return &http.Response{StatusCode: 204, Body: http.NoBody, Request: req}, nil
	})
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			b := batch(t, r, wire.V1, points(50*(i+1))...)
			for range 100 {
				r.Deliver(context.Background(), b)
			}
		})
	}
	senders.Wait()
	late.Wait()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestSharedBody: what goes to all endpoints is made once, and freed.
func TestSharedBody(t *testing.T) {
	a, b := newReceiver(t, nil), newReceiver(t, func(received) reply { return reply{status: 503} })
	r := newRig(t, at(a, b)+"replication_factor: 2")
	d := delivery{Upstream: r.Upstream, batch: batch(t, r, wire.V1, points(3)...), copies: 2}
	d.route(d.sift())
	if len(d.parts) != 2 || d.parts[0].body == nil || d.parts[0].body != d.parts[1].body {
		t.Fatalf("parts %+v", d.parts)
	}
	shared := d.parts[0].body
	d.vote(context.Background())
	if n := shared.users.Load(); n != 0 {
		t.Errorf("%d users at the end", n)
	}
}
