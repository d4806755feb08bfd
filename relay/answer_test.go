package relay

import (
	"testing"
	"time"

	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/relay/wire"
)

// What the sender is told, of what several upstreams have said.
func TestConclude(t *testing.T) {
	all := wire.Counts{Samples: 7, Histograms: 2, Exemplars: 1}
	good := upstream.Result{Status: 200, Delivered: all}
	refused := upstream.Result{Status: 409, Delivered: wire.Counts{Samples: 6, Histograms: 2, Exemplars: 1}, Rejected: wire.Counts{Samples: 1}, Reason: "out of order"}
	down := upstream.Result{Status: 503, Failed: all, Reason: "connection refused", RetryAfter: 2 * time.Second}
	busy := upstream.Result{Status: 429, Failed: all, Reason: "slow down", RetryAfter: 7500 * time.Millisecond}

	for _, tc := range []struct {
		name    string
		results []upstream.Result
		want    answer
	}{
		{"only best-effort upstreams", nil, answer{status: 204, written: all}},
		{"one that takes all", []upstream.Result{good}, answer{status: 204, written: all}},
		{"one of two refuses a part", []upstream.Result{good, refused}, answer{status: 409, text: "out of order", written: refused.Delivered}},
		{"one refuses, one is down", []upstream.Result{refused, down}, answer{status: 503, text: "connection refused", retryAfter: 2 * time.Second}},
		{"one is down, one refuses", []upstream.Result{down, refused}, answer{status: 503, text: "connection refused", retryAfter: 2 * time.Second}},
		{"one busy", []upstream.Result{busy, good}, answer{status: 429, text: "slow down", retryAfter: 7500 * time.Millisecond}},
		{"one busy, one down: the longer pause", []upstream.Result{busy, down}, answer{status: 503, text: "connection refused", retryAfter: 7500 * time.Millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b wire.Batch
			if err := b.Parse(wire.V1, bodyV1(), wire.NewNames("prometheus_replica")); err != nil {
				t.Fatal(err)
			}
			if got := conclude(&b, tc.results); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	b := budget{limit: 100}
	first, second := lease{budget: &b}, lease{budget: &b}
	for _, step := range []struct {
		lease *lease
		bytes int64
		ok    bool
		used  int64
	}{
		{&first, 60, true, 60},
		{&first, 50, true, 60}, // it has that already
		{&second, 50, false, 60},
		{&second, 40, true, 100},
		{&first, 61, false, 100},
	} {
		if ok := step.lease.grow(step.bytes); ok != step.ok || b.used.Load() != step.used {
			t.Fatalf("grow to %d: %v with %d used, want %v with %d", step.bytes, ok, b.used.Load(), step.ok, step.used)
		}
	}
	first.end()
	second.end()
	if !first.grow(1000) {
		t.Error("one that alone is over the limit never gets its turn")
	}
	first.end()
	if n := b.used.Load(); n != 0 {
		t.Errorf("%d bytes are used by nobody", n)
	}
}
