package upstream

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// verdict is what came of a series.
type verdict uint8

const (
	delivered    verdict = iota
	rejected             // for ever
	failed               // may go through when sent again
	settledKinds = iota  // how many of these there are
)

// Outcomes of samples in the metrics; the first are those of verdicts.
var outcomes = [...]string{"delivered", "rejected", "failed", "filtered", "suppressed", "dropped"}

// Beyond the verdicts: what was not sent at all.
const (
	filtered     = settledKinds + iota // by write_relabel_configs
	suppressed                         // stale markers of series that were handed over
	dropped                            // from a full queue
	outcomeKinds = settledKinds + iota
)

// Metrics are shared by all upstreams.
type Metrics struct {
	auto            promauto.Factory
	samples         *prometheus.CounterVec
	endpointSamples *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	inFlight        *prometheus.GaugeVec
	breakerOpen     *prometheus.GaugeVec
	reloaded        *prometheus.GaugeVec
}

// NewMetrics registers the metrics of upstreams.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	auto := promauto.With(reg)
	perEndpoint := []string{"upstream", "endpoint"}
	return &Metrics{
		auto: auto,
		samples: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_relay_samples_total",
			Help: "Samples and histograms for an upstream by outcome. Those that failed come again when Prometheus repeats them.",
		}, []string{"upstream", "outcome"}),
		endpointSamples: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_relay_endpoint_samples_total",
			Help: "Samples and histograms for one endpoint of an upstream, each copy counted, by outcome.",
		}, append(perEndpoint, "outcome")),
		duration: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "ringside_relay_request_duration_seconds",
			Help:                        "How long requests to an endpoint took, failed ones included.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, perEndpoint),
		inFlight: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_relay_endpoint_in_flight_bytes",
			Help: "Compressed bytes on their way to an endpoint.",
		}, perEndpoint),
		breakerOpen: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_relay_breaker_open",
			Help: "1 while an endpoint gets no requests because the last ones failed, or a single one to try it.",
		}, perEndpoint),
		reloaded: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_relay_hashring_last_reload_successful",
			Help: "Whether the hashring file could be used when it last changed. 0 = the one before is in use.",
		}, []string{"upstream"}),
	}
}

// lag registers the lag of an upstream.
func (m *Metrics) lag(upstream string, seconds func() float64) {
	m.auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "ringside_relay_lag_seconds",
		Help:        "Age of the newest sample that the upstream has acknowledged; before the first, of the first batch that was not taken. 0 if there is neither.",
		ConstLabels: prometheus.Labels{"upstream": upstream},
	}, seconds)
}

// upstream returns the counters of one upstream by outcome.
func (m *Metrics) upstream(name string) (counters [outcomeKinds]prometheus.Counter) {
	for i, outcome := range outcomes {
		counters[i] = m.samples.WithLabelValues(name, outcome)
	}
	return counters
}

func (m *Metrics) endpoint(upstream, endpoint string) endpointMetrics {
	e := endpointMetrics{
		duration:    m.duration.WithLabelValues(upstream, endpoint),
		inFlight:    m.inFlight.WithLabelValues(upstream, endpoint),
		breakerOpen: m.breakerOpen.WithLabelValues(upstream, endpoint),
	}
	for i := range e.samples {
		e.samples[i] = m.endpointSamples.WithLabelValues(upstream, endpoint, outcomes[i])
	}
	return e
}

// forget removes the series of an endpoint that is no more.
func (m *Metrics) forget(upstream, endpoint string) {
	labels := prometheus.Labels{"upstream": upstream, "endpoint": endpoint}
	m.endpointSamples.DeletePartialMatch(labels)
	m.duration.Delete(labels)
	m.inFlight.Delete(labels)
	m.breakerOpen.Delete(labels)
}
