package upstream

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

func newBreaker() (*breaker, *[]bool) {
	var changes []bool
	return &breaker{changed: func(open bool) { changes = append(changes, open) }}, &changes
}

func TestBreakerTrips(t *testing.T) {
	for _, tc := range []struct {
		ends []health
		want string
	}{
		{[]health{sick, sick}, stateClosed},
		{[]health{sick, sick, sick}, stateOpen},
		{[]health{sick, sick, alive, sick, sick}, stateClosed},
		{[]health{sick, sick, unknown, sick}, stateOpen},
		{[]health{unknown, unknown, unknown}, stateClosed},
		{[]health{sick, sick, sick, sick, alive}, stateClosed}, // of a request that began before
	} {
		b, _ := newBreaker()
		for _, h := range tc.ends {
			b.leave(false, h)
		}
		if got := b.state(); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.ends, got, tc.want)
		}
	}
}

// TestBreakerTimes: each failed probe doubles the time up to 15 s, one request
// at a time is let through, and one success closes it for good.
func TestBreakerTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := newBreaker()
		for range tripAfter {
			b.leave(false, sick)
		}
		for _, open := range []time.Duration{1, 2, 4, 8, 15, 15} {
			_, wait := b.enter()
			if most := open * time.Second; wait > most || wait < most*3/4 {
				t.Errorf("open for %s, want up to %s", wait, most)
			}
			b.leave(false, sick) // of a request that began before: changes nothing
			time.Sleep(wait - 1)
			if _, rest := b.enter(); rest != 1 || b.state() != stateOpen {
				t.Errorf("%s before its time, %s", rest, b.state())
			}
			time.Sleep(time.Nanosecond)
			if got := b.state(); got != stateHalfOpen {
				t.Errorf("%s, want half-open", got)
			}
			if probe, wait := b.enter(); !probe || wait != 0 {
				t.Error("no probe")
			}
			if probe, wait := b.enter(); probe || wait != probePeriod {
				t.Error("a second request is let through")
			}
			b.leave(true, sick)
		}
		_, wait := b.enter()
		time.Sleep(wait)
		probe, _ := b.enter()
		b.leave(probe, unknown)
		if probe, _ = b.enter(); !probe {
			t.Error("no new probe after one that was given up")
		}
		b.leave(probe, alive)
		if probe, wait := b.enter(); probe || wait != 0 || b.state() != stateClosed {
			t.Errorf("not closed after a success: %s", b.state())
		}
		for range tripAfter {
			b.leave(false, sick)
		}
		if _, wait := b.enter(); wait > time.Second {
			t.Errorf("the second time open for %s", wait)
		}
		if len(*changes) != 3 {
			t.Errorf("changes %v", *changes)
		}
	})
}

// TestDeadEndpoint costs one failure, not a time-out a request, until it is back.
func TestDeadEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		var asked atomic.Int32
		r := newRig(t, "endpoints: ['http://a/write?token=secret']\nremote_timeout: 20s")
		r.transport = memory{"a": func(r received) reply {
			asked.Add(1)
			if !up.Load() {
				return r.ok().delayed(time.Hour)
			}
			return r.ok()
		}}
		for range tripAfter {
			start := time.Now()
			r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 503, Reason: "http://a/write: no answer in time"})
			if took := time.Since(start); took != 20*time.Second {
				t.Errorf("took %s", took)
			}
		}
		start := time.Now()
		got := r.deliver(t, wire.V1, points(1)...)
		if got.Status != 503 || got.RetryAfter <= 0 || got.RetryAfter > time.Second || !strings.Contains(got.Reason, "not tried again yet after several failures, the last one being: no answer in time") {
			t.Errorf("got %+v", got)
		}
		if time.Since(start) != 0 || asked.Load() != tripAfter {
			t.Errorf("%d requests, the last took %s", asked.Load(), time.Since(start))
		}
		if open := r.metric(t, "ringside_relay_breaker_open", `endpoint="http://a/write"`); open != 1 {
			t.Errorf("the metric says %v", open)
		}
		up.Store(true)
		time.Sleep(got.RetryAfter)
		r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Delivered: samples(1), Status: 200})
		if open := r.metric(t, "ringside_relay_breaker_open", `endpoint="http://a/write"`); open != 0 || r.Status().Endpoints[0].Breaker != stateClosed {
			t.Errorf("the metric says %v of an endpoint that is back", open)
		}
	})
}

// TestAnswersThatTrip: 5xx trips the breaker, 429 and 4xx do not.
func TestAnswersThatTrip(t *testing.T) {
	for status, want := range map[int]string{500: stateOpen, 503: stateOpen, 429: stateClosed, 400: stateClosed, 401: stateClosed, 302: stateClosed, 0: stateOpen} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, "endpoints: [http://a/]")
			r.transport = memory{"a": func(received) reply { return reply{status: status} }}
			for range tripAfter {
				r.deliver(t, wire.V1, points(1)...)
			}
			if got := r.Status().Endpoints[0].Breaker; got != want {
				t.Errorf("%d: %s, want %s", status, got, want)
			}
		})
	}
}
