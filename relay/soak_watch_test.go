//go:build unix

package relay

import (
	"context"
	"net/http"
	runtimemetrics "runtime/metrics"
	"strings"
	"time"
)

// What the whole process, receivers and senders included, may take.
const (
	maxLiveHeap   = 64 << 20 // bytes
	maxGoroutines = 1000
)

// watchMemory looks all the time at what is live and fails the test when that
// is too much.
func (s *soak) watchMemory(ctx context.Context) {
	figures := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		runtimemetrics.Read(figures)
		s.mostHeap = max(s.mostHeap, figures[0].Value.Uint64())
		s.mostGoroutines = max(s.mostGoroutines, figures[1].Value.Uint64())
		select {
		case <-ctx.Done():
			if s.mostHeap > maxLiveHeap || s.mostGoroutines > maxGoroutines {
				s.wrong("%d bytes live and %d goroutines at most; allowed are %d and %d", s.mostHeap, s.mostGoroutines, maxLiveHeap, maxGoroutines)
			}
			return
		case <-ticker.C:
		}
	}
}

// sendFeedback sends the other stream, which no upstream may hold up.
func (s *soak) sendFeedback(ctx context.Context, address string) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		req, err := http.NewRequest(http.MethodPost, "http://"+address+"/api/v1/feedback", snappy(bodyV1()))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Content-Type", typeV1)
		req.Header.Set("Content-Encoding", "snappy")
		resp, err := client.Do(req)
		if err != nil {
			s.wrong("feedback: %v", err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			s.wrong("feedback: %s", resp.Status)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// checkIdle fails the test when something is left of a relay that has stopped:
// bytes in flight or queued, or a connection to a receiver.
func (s *soak) checkIdle(r *running) {
	s.t.Helper()
	if n := r.Status().InFlightBytes; n != 0 {
		s.t.Errorf("%d bytes in flight after the end", n)
	}
	for name, n := range s.figures(r) {
		family, _, _ := strings.Cut(name, " ")
		if n != 0 && (strings.HasSuffix(family, "_in_flight_bytes") || strings.HasSuffix(family, "_queue_bytes")) {
			s.t.Errorf("%s is %d after the end", name, n)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, u := range s.upstreams {
		for _, rc := range u.receivers {
			for rc.open.Load() > 0 && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond) // a receiver learns of it a moment later
			}
			if n := rc.open.Load(); n > 0 {
				s.t.Errorf("%d connections to %s are left", n, u.name)
			}
		}
	}
}

// checkCounts fails the test when the relay counts fewer samples than were
// settled.
func (s *soak) checkCounts(r *running) {
	s.t.Helper()
	figures := s.figures(r)
	counted := func(outcome, upstream string) int64 {
		return figures["ringside_relay_samples_total "+outcome+" "+upstream]
	}
	samples, refused := s.samples.Load(), s.refused.Load()
	for _, u := range s.upstreams {
		delivered, rejected, dropped := counted("delivered", u.name), counted("rejected", u.name), counted("dropped", u.name)
		s.t.Logf("%s: %d delivered, %d rejected, %d dropped, %d failed", u.name, delivered, rejected, dropped, counted("failed", u.name))
		if delivered+dropped < samples-refused || delivered+rejected+dropped < samples {
			s.t.Errorf("%s: %d delivered, %d rejected, %d dropped, of %d samples, of which %d are refused", u.name, delivered, rejected, dropped, samples, refused)
		}
		if u.required {
			continue
		}
		if written := int64(u.receivers[0].distinct); written < samples-refused-dropped {
			s.t.Errorf("%s: %d samples of %d are written, %d dropped", u.name, written, samples-refused, dropped)
		}
	}
}

// figures returns the relay's gauges and counters by name and, parted by spaces,
// the values of their labels.
func (s *soak) figures(r *running) map[string]int64 {
	s.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]int64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = int64(m.GetGauge().GetValue() + m.GetCounter().GetValue())
		}
	}
	return all
}
