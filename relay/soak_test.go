//go:build unix

package relay

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	soakFor  = flag.Duration("soak", 3*time.Second, "how long TestSoak sends")
	soakSeed = flag.Uint64("soak-seed", 0, "what TestSoak draws its faults by; 0 for the time")
)

const shards = 6 // half of them send remote_write 2.0

// TestSoak has shards send through a relay to upstreams that are slow, hang, end
// connections at the worst moments, refuse for a while or for ever, and do not
// say all that they begin to say. Nothing that is acknowledged may be lost or
// come out of order, and nothing may pile up. It lasts longer by: -args -soak=10m
func TestSoak(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newSoak(t)
	defer s.close()
	relay := s.startRelay()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var senders, watchers sync.WaitGroup
	for n := range shards {
		senders.Go(s.newShard(n).run)
	}
	watchers.Go(func() { s.watchMemory(ctx) })
	watchers.Go(func() { s.sendFeedback(ctx, relay.Addr().String()) })

	time.Sleep(*soakFor) // this is what takes the time: the load
	s.awaitLoad()

	cancel()
	watchers.Wait()
	// The relay is told to stop while all shards are sending.
	s.stopping.Store(true)
	s.heal()
	began := time.Now()
	if err := relay.stop(); err != nil {
		t.Error(err)
	}
	took := time.Since(began)
	senders.Wait()
	s.checkIdle(relay)
	s.checkCounts(relay)
	t.Logf("%d samples settled, %d of them refused for ever; %d requests sent again, slowest answer %s; faults: %s",
		s.samples.Load(), s.refused.Load(), s.retried.Load(), time.Duration(s.slowest.Load()).Round(time.Millisecond), s.faults())
	t.Logf("at most %d MiB live and %d goroutines, receivers and senders among them; stopped in %s",
		s.mostHeap>>20, s.mostGoroutines, took.Round(time.Millisecond))
	if t.Failed() {
		t.Logf("said by the relay: %v", s.words)
	}
}

// soakUpstream is one upstream of the soak, and what its receivers do.
type soakUpstream struct {
	soak     *soak
	name     string
	required bool
	keep     bool    // the replica label
	copies   int     // replication_factor
	quorum   int     // copies that acknowledge
	faulty   float64 // share of the requests that a fault befalls
	stuck    bool    // never answers
	most     int     // series in one request; 0: any number
	old      int     // status for remote_write 2.0, where that is not spoken
	more     string  // of the entry in relay.upstreams

	receivers []*soakReceiver
}

// soak is a relay between shards and receivers that fail in every way they can.
type soak struct {
	t         *testing.T
	seed      uint64
	url       string // to write to
	upstreams []*soakUpstream
	trap      *httptest.Server // where redirects lead
	healing   chan struct{}    // closed when there are to be no more faults
	stopping  atomic.Bool      // the relay is

	samples, refused, retried atomic.Int64 // samples settled, of these refused for ever; requests
	slowest                   atomic.Int64 // answer, as a time.Duration
	mostHeap                  uint64       // bytes
	mostGoroutines            uint64

	mu     sync.Mutex
	errors int
	words  map[int]string // the last that was said with each status
}

// wrong fails the test; of many failures it shows the first.
func (s *soak) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors++; s.errors <= 20 {
		s.t.Errorf(format, args...)
	}
}

func (s *soak) said(status int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words[status] = strings.TrimSpace(text)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t, seed: *soakSeed, words: map[int]string{}, healing: make(chan struct{})}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("to try again: -args -soak=%s -soak-seed=%d", *soakFor, s.seed)
	s.trap = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		s.wrong("a redirect was followed")
	}))
	old := http.StatusUnsupportedMediaType
	if s.seed%2 == 0 {
		old = http.StatusNoContent // takes 2.0 for 1.0 without series
	}
	s.upstreams = []*soakUpstream{
		{name: "single", required: true, keep: true, copies: 1, quorum: 1, faulty: 0.03, most: 25},
		{name: "copies", required: true, copies: 3, quorum: 2, faulty: 0.02, more: ", replica_label: drop"},
		{name: "spread", required: true, keep: true, copies: 2, quorum: 1, faulty: 0.02, more: ", hashring: {algorithm: hashmod}"},
		{name: "old", required: true, keep: true, copies: 1, quorum: 1, faulty: 0.01, old: old},
		{name: "effort", keep: true, copies: 1, quorum: 1, faulty: 0.1, more: ", required: false"},
		{name: "stuck", keep: true, copies: 1, quorum: 1, stuck: true, more: ", required: false, queue_bytes: 1MiB"},
	}
	for i, u := range s.upstreams {
		u.soak = s
		endpoints := 1
		if u.copies > 1 {
			endpoints = 3
		}
		for range endpoints {
			u.receivers = append(u.receivers, u.newReceiver(s.seed+uint64(i)))
		}
	}
	return s
}

func (s *soak) startRelay() *running {
	s.t.Helper()
	text := "listen_address: 127.0.0.1:0\nupstreams:\n"
	for _, u := range s.upstreams {
		var urls []string
		for _, r := range u.receivers {
			urls = append(urls, r.url)
		}
		text += fmt.Sprintf("  - {name: %s, endpoints: [%s], replication_factor: %d, remote_timeout: %ds%s}\n",
			u.name, strings.Join(urls, ", "), u.copies, u.copies, u.more)
	}
	cfg, err := parse(text)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, text)
	}
	r := startWith(s.t, cfg, Options{Feedback: func([]Sample) {}, ReplicaLabel: "prometheus_replica", Node: "soak"})
	s.url = "http://" + r.Addr().String() + "/api/v1/write"
	return r
}

// heal ends all faults.
func (s *soak) heal() { close(s.healing) }

func (s *soak) close() {
	for _, u := range s.upstreams {
		for _, r := range u.receivers {
			r.server.Close()
		}
	}
	s.trap.Close()
}

// awaitLoad waits until so much has come of the load that it means something.
func (s *soak) awaitLoad() {
	deadline := time.Now().Add(time.Minute)
	for s.samples.Load() < 1000 || s.refused.Load() == 0 || s.retried.Load() == 0 {
		if time.Now().After(deadline) {
			s.wrong("only %d samples settled, %d of them refused for ever, %d requests sent again", s.samples.Load(), s.refused.Load(), s.retried.Load())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// faults says what befell how many requests.
func (s *soak) faults() string {
	var total [faultKinds]int
	for _, u := range s.upstreams {
		for _, r := range u.receivers {
			for f, n := range r.seen {
				total[f] += n
			}
		}
	}
	var words []string
	for f, n := range total {
		words = append(words, fmt.Sprintf("%d %s", n, faultNames[f]))
	}
	return strings.Join(words, ", ")
}
