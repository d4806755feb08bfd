package upstream

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestBisecting: whatever the bad series are, exactly the others are
// delivered, each once, in their order.
func TestBisecting(t *testing.T) {
	for _, msg := range []wire.Message{wire.V1, wire.V2} {
		t.Run(string(msg), func(t *testing.T) {
			var bad atomic.Pointer[map[string]bool]
			server := newReceiver(t, func(r received) reply {
				for _, s := range r.series {
					if (*bad.Load())[s] {
						return reply{status: 400, body: "bad: " + s}
					}
				}
				return r.ok()
			})
			rapid.Check(t, func(rt *rapid.T) {
				n := rapid.IntRange(1, 40).Draw(rt, "series")
				marks := rapid.SliceOfN(rapid.SampledFrom([]bool{true, false, false, false}), n, n).Draw(rt, "bad")
				set, good, first := map[string]bool{}, []string{}, ""
				for i, m := range marks {
					name := nameOf(i)
					if m {
						set[name] = true
						if first == "" {
							first = name
						}
					} else {
						good = append(good, name)
					}
				}
				bad.Store(&set)
				server.forget()
				r := newRig(t, at(server))
				got := r.deliver(t, msg, points(n)...)
				if want := samples(len(good)); got.Delivered != want || got.Rejected != samples(n-len(good)) || got.Failed != samples(0) {
					rt.Fatalf("%d good ones: %+v", len(good), got)
				}
				if (got.Status == 200) != (len(set) == 0) || (len(set) > 0 && got.Status != 400) {
					rt.Fatalf("status %d with %d bad ones", got.Status, len(set))
				}
				if !slices.Equal(server.got(), good) {
					rt.Fatalf("taken %s\nwant  %s", server.got(), good)
				}
				if text := r.log.String(); len(set) > 0 && !strings.Contains(text, strings.ReplaceAll(first, `"`, `\"`)) {
					rt.Fatalf("log %s\nhas nothing of %s", text, first)
				}
				if len(set) == 1 && len(server.all()) > 2+2*6 {
					rt.Fatalf("%d requests to find one of %d", len(server.all()), n)
				}
			})
		})
	}
}

// TestTooLarge: what is too large for one request goes in several.
func TestTooLarge(t *testing.T) {
	for _, msg := range []wire.Message{wire.V1, wire.V2} {
		server := newReceiver(t, func(r received) reply {
			if len(r.series) > 3 || r.has("m7") {
				return reply{status: 413}
			}
			return r.ok()
		})
		r := newRig(t, at(server))
		r.want(t, r.deliver(t, msg, points(20)...), Result{Delivered: samples(19), Rejected: samples(1), Status: 413, Reason: "HTTP 413"})
		var want []string
		for i := range 20 {
			if i != 7 {
				want = append(want, nameOf(i))
			}
		}
		if !slices.Equal(server.got(), want) {
			t.Errorf("taken %s", server.got())
		}
	}
}

// TestTooManyBad: a search for bad series that takes too long rejects the rest.
func TestTooManyBad(t *testing.T) {
	t.Run("requests", func(t *testing.T) {
		server := newReceiver(t, func(r received) reply { return reply{status: 409} })
		r := newRig(t, at(server))
		r.want(t, r.deliver(t, wire.V1, points(2000)...), Result{Rejected: samples(2000), Status: 409, Reason: "HTTP 409"})
		if n := len(server.all()); n != maxRequests {
			t.Errorf("%d requests", n)
		}
		if text := r.log.String(); !strings.Contains(text, "the rest was rejected unseen") || strings.Count(text, "\n") != 2 {
			t.Errorf("log %s", text)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		var n atomic.Int32
		expired, expire := context.WithCancelCause(ctx)
		defer expire(nil)
		server := newReceiver(t, func(r received) reply {
			if n.Add(1) == 3 {
				expire(context.DeadlineExceeded)
				<-expired.Done()
			}
			if r.has("m0") {
				return reply{status: 400}
			}
			return r.ok()
		})
		r := newRig(t, at(server))
		got := r.Deliver(deadline{expired}, batch(t, r, wire.V1, points(8)...))
		r.want(t, got, Result{Rejected: samples(8), Status: 400, Reason: "HTTP 400"})
	})
}

// TestInterrupted: what a search for bad series has not come to fails.
func TestInterrupted(t *testing.T) {
	t.Run("a failure", func(t *testing.T) {
		server := newReceiver(t, func(r received) reply {
			switch {
			case r.has("m2"):
				return reply{status: 400}
			case r.has("m7"):
				return reply{status: 500}
			}
			return r.ok()
		})
		r := newRig(t, at(server))
		r.want(t, r.deliver(t, wire.V1, points(8)...), Result{Delivered: samples(3), Rejected: samples(1), Failed: samples(4), Status: 500, Reason: "HTTP 500"})
		if s := r.Status(); s.LastError == "" || s.Endpoints[0].LastErrorTime == nil {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		server := newReceiver(t, func(r received) reply {
			if len(r.series) == 1 {
				cancel()
			}
			return reply{status: 400}
		})
		r := newRig(t, at(server))
		got := r.Deliver(ctx, batch(t, r, wire.V1, points(8)...))
		if got.Status != 503 || got.Failed.Samples < 7 || got.Failed.Samples+got.Rejected.Samples != 8 {
			t.Errorf("got %+v", got)
		}
	})
}

// deadline is a context that was cancelled as if by its deadline.
type deadline struct{ context.Context }

func (d deadline) Err() error {
	if d.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}
