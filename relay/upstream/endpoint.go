package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-project/ringside/relay/wire"
)

// endpoint is one URL that an upstream is written to, for as long as it is
// among its endpoints.
type endpoint struct {
	address string        // URL, with what may be secret in it
	shown   string        // without that
	request *http.Request // to be copied for each

	breaker  breaker
	metrics  endpointMetrics
	inFlight atomic.Int64 // bytes

	mu        sync.Mutex
	samples   [settledKinds]int64
	lastError string
	failedAt  time.Time
}

// newEndpoint returns one that has yet to be given its metrics.
func newEndpoint(address string) (*endpoint, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL") // err quotes it
	}
	e := &endpoint{
		address: address, shown: displayed(u),
		request: &http.Request{
			Method: http.MethodPost, URL: u, Host: u.Host,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
	}
	e.breaker.changed = func(open bool) {
		e.metrics.breakerOpen.Set(0)
		if open {
			e.metrics.breakerOpen.Set(1)
		}
	}
	return e, nil
}

// carry notes that n more bytes are on their way, or no longer.
func (e *endpoint) carry(n int) {
	e.inFlight.Add(int64(n))
	e.metrics.inFlight.Add(float64(n))
}

// settled books what came of series sent here.
func (e *endpoint) settled(counts [settledKinds]wire.Counts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for verdict, c := range counts {
		if n := samplesIn(c); n > 0 {
			e.samples[verdict] += int64(n)
			e.metrics.samples[verdict].Add(float64(n))
		}
	}
}

func (e *endpoint) failed(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastError, e.failedAt = text, time.Now()
}

func (e *endpoint) why() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastError
}

// samplesIn is what the metrics count: histograms are samples too.
func samplesIn(c wire.Counts) int { return c.Samples + c.Histograms }

// endpointMetrics are those of one endpoint.
type endpointMetrics struct {
	samples     [settledKinds]prometheus.Counter
	duration    prometheus.Observer
	inFlight    prometheus.Gauge
	breakerOpen prometheus.Gauge
}

func (m member) status() endpointStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := endpointStatus{
		URL: m.shown, AZ: m.az, Breaker: m.breaker.state(), InFlightBytes: m.inFlight.Load(),
		Samples: map[string]int64{}, LastError: m.lastError, LastErrorTime: timeOrNil(m.failedAt),
	}
	for v, n := range m.samples {
		s.Samples[outcomes[v]] = n
	}
	return s
}
