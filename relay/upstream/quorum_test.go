package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestVotes compares the count of votes, in any order, with what the words say.
func TestVotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		copies := rapid.IntRange(1, 7).Draw(t, "copies")
		cast := rapid.SliceOfN(rapid.SampledFrom([]verdict{delivered, rejected, failed}), copies, copies).Draw(t, "votes")
		quorum := copies/2 + 1
		if copies == 2 {
			quorum = 1
		}
		count := func(v verdict) (n int) {
			for _, x := range cast {
				if x == v {
					n++
				}
			}
			return n
		}
		want := failed
		switch {
		case count(delivered) >= quorum:
			want = delivered
		case copies-count(rejected) < quorum: // even if all others had taken it
			want = rejected
		}
		b := newBallot(copies, 3, 1)
		decidedAs := failed + 1
		for i, v := range cast {
			b.cast(1, v)
			written := b.votes[1][delivered] >= uint16(quorum)
			possible := int(b.votes[1][delivered])+copies-i-1 >= quorum
			if decided := b.undecided == 0; decided != (written || !possible) {
				t.Fatalf("after %v of %v: decided is %v", cast[:i+1], cast, decided)
			}
			if b.undecided == 0 && decidedAs > failed && written {
				decidedAs = delivered
			}
		}
		if got := b.votes[1].verdict(copies); got != want || (decidedAs == delivered && got != delivered) {
			t.Fatalf("%v: verdict %d, want %d", cast, got, want)
		}
	})
}

// mind is what an endpoint thinks of series.
type mind struct {
	down bool
	bad  map[string]bool
}

func (m *mind) answer(r received) reply {
	if m.down {
		return reply{status: 503}
	}
	for _, s := range r.series {
		if m.bad[s] {
			return reply{status: 409}
		}
	}
	return r.ok()
}

func nameOf(series int) string {
	return fmt.Sprintf(`{__name__="m%d", prometheus_replica="a"}`, series)
}

func drawMind(t *rapid.T, series int) *mind {
	m := &mind{down: rapid.IntRange(0, 3).Draw(t, "down") == 0, bad: map[string]bool{}}
	for i := range series {
		if rapid.IntRange(0, 5).Draw(t, "bad") == 0 {
			m.bad[nameOf(i)] = true
		}
	}
	return m
}

// expected is what should come of series by the minds of their owners, and
// what each endpoint should have then.
func expected(d *delivery, minds map[string]*mind, series int) (verdicts [settledKinds]int, taken map[string][]string) {
	taken = map[string][]string{}
	for i := range series {
		var v votes
		for _, p := range d.parts {
			owns := p.rows == nil || slices.ContainsFunc(p.rows, func(row wire.Row) bool { return int(row.Series) == i })
			switch m := minds[p.to.address]; {
			case !owns:
			case m.down:
				v[failed]++
			case m.bad[nameOf(i)]:
				v[rejected]++
			default:
				v[delivered]++
				taken[p.to.address] = append(taken[p.to.address], nameOf(i))
			}
		}
		verdicts[v.verdict(d.copies)]++
	}
	return verdicts, taken
}

// TestQuorum compares deliveries to several endpoints, each with a mind of its
// own about every series, with a model.
func TestQuorum(t *testing.T) {
	const most = 5
	var current [most]atomic.Pointer[mind]
	var servers []*receiver
	for i := range most {
		servers = append(servers, newReceiver(t, func(r received) reply { return current[i].Load().answer(r) }))
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, most).Draw(rt, "endpoints")
		copies := rapid.IntRange(1, n).Draw(rt, "copies")
		series := rapid.IntRange(1, 12).Draw(rt, "series")
		msg := rapid.SampledFrom([]wire.Message{wire.V1, wire.V2}).Draw(rt, "message")
		minds := map[string]*mind{}
		for i := range n {
			m := drawMind(rt, series)
			minds[servers[i].URL+"/write"] = m
			current[i].Store(m)
			servers[i].forget()
		}
		r := newRig(t, at(servers[:n]...)+fmt.Sprintf("replication_factor: %d", copies))
		got := r.deliver(t, msg, points(series)...)

		d := delivery{Upstream: r.Upstream, batch: batch(t, r, msg, points(series)...), copies: copies}
		d.route([]cargo{{}})
		want, taken := expected(&d, minds, series)
		status := 200
		if want[failed] > 0 {
			status = 503
		} else if want[rejected] > 0 {
			status = 409
		}
		if got.Delivered != samples(want[delivered]) || got.Rejected != samples(want[rejected]) || got.Failed != samples(want[failed]) || got.Status != status {
			rt.Fatalf("want %d and %d, got %+v", want, status, got)
		}
		for _, s := range servers[:n] {
			if have := s.got(); !slices.Equal(have, taken[s.URL+"/write"]) {
				rt.Fatalf("%s has %s, want %s", s.URL, have, taken[s.URL+"/write"])
			}
		}
	})
}

// TestSlowCopy: of three copies one that hangs is cut off a second after the
// others are there; after a few, the breaker takes it out.
func TestSlowCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "endpoints: [http://a/, http://slow/, http://b/]\nreplication_factor: 3")
		r.transport = memory{
			"a": func(r received) reply { return r.ok().delayed(100 * time.Millisecond) }, "b": received.ok,
			"slow": func(r received) reply { return r.ok().delayed(time.Hour) },
		}
		for i := range tripAfter + 1 {
			start := time.Now()
			r.want(t, r.deliver(t, wire.V1, points(4)...), Result{Delivered: samples(4), Status: 200})
			want := 100*time.Millisecond + outvotedAfter
			if i == tripAfter {
				want = 100 * time.Millisecond
			}
			if took := time.Since(start); took != want {
				t.Errorf("delivery %d took %s, want %s", i, took, want)
			}
		}
		for _, e := range r.Status().Endpoints {
			want := stateClosed
			if e.URL == "http://slow/" {
				want = stateOpen
				if e.LastError != errOutvoted.Error() || e.Samples["failed"] != 4*(tripAfter+1) {
					t.Errorf("the slow one: %+v", e)
				}
			}
			if e.Breaker != want || e.InFlightBytes != 0 {
				t.Errorf("%+v, want it %s", e, want)
			}
		}
		if text := r.log.String(); !strings.Contains(text, "a copy is missing") {
			t.Errorf("log %s", text)
		}
	})
}

// TestOneOfTwo: with two copies one is enough, and each series that has none fails.
func TestOneOfTwo(t *testing.T) {
	a, b := newReceiver(t, nil), newReceiver(t, func(received) reply { return reply{status: 500, body: "disk full"} })
	r := newRig(t, at(a, b)+"replication_factor: 2")
	r.want(t, r.deliver(t, wire.V2, points(4)...), Result{Delivered: samples(4), Status: 200})
	a.Close()
	got := r.deliver(t, wire.V2, points(4)...)
	r.want(t, got, Result{Failed: samples(4), Status: 503, Reason: "4 series lack the quorum of 1 out of 2: "})
}

// TestSameAnswer: where all endpoints ask the same of the sender it is passed on.
func TestSameAnswer(t *testing.T) {
	answer := func(status int, after string) *receiver {
		return newReceiver(t, func(received) reply { return reply{status: status, header: map[string]string{"Retry-After": after}} })
	}
	r := newRig(t, at(answer(429, "3"), answer(429, "5"))+"replication_factor: 2")
	r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 429, RetryAfter: 5 * time.Second})
	r = newRig(t, at(answer(429, "3"), answer(500, ""))+"replication_factor: 2")
	r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 503, RetryAfter: 3 * time.Second})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := newReceiver(t, func(received) reply { cancel(); panic(http.ErrAbortHandler) })
	r := newRig(t, at(server))
	for range tripAfter + 1 {
		got := r.Deliver(ctx, batch(t, r, wire.V1, points(3)...))
		r.want(t, got, Result{Failed: samples(3), Status: 503, Reason: "given up: context canceled"})
	}
	if s := r.Status().Endpoints[0]; s.Breaker != stateClosed {
		t.Errorf("a sender that goes away trips the breaker: %+v", s)
	}
}
