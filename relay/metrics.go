package relay

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why a request is rejected: the values of the label reason.
const (
	reasonMethod     = "method"     // not a POST
	reasonMediaType  = "media_type" // neither of the two protobuf messages, or not snappy
	reasonTooLarge   = "too_large"  // over maxBody or what the decoder holds
	reasonMalformed  = "malformed"  // snappy, protobuf or its contents
	reasonRead       = "read"       // the body did not arrive
	reasonOverloaded = "overloaded" // no room for it now
)

// Outcomes of a request.
const (
	outcomeAccepted = "accepted" // answered with 2xx
	outcomeRejected = "rejected" // by this relay
	outcomeRefused  = "refused"  // at least in part, by an upstream or as invalid; the rest is delivered
	outcomeFailed   = "failed"   // to be sent again
)

type metrics struct {
	feedback   *intakeMetrics
	write      *intakeMetrics
	samples    *prometheus.CounterVec
	lastSample prometheus.Gauge
	queueBytes *prometheus.GaugeVec
}

// intakeMetrics are of the requests to one path.
type intakeMetrics struct {
	requests *prometheus.CounterVec
	rejected *prometheus.CounterVec
}

// newMetrics registers the relay's own metrics; those of upstreams are package
// upstream's.
func newMetrics(reg prometheus.Registerer, inFlight func() float64) *metrics {
	auto := promauto.With(reg)
	m := &metrics{
		feedback: newIntakeMetrics(auto, "feedback", outcomeAccepted, outcomeRejected),
		write:    newIntakeMetrics(auto, "relay", outcomeAccepted, outcomeRejected, outcomeRefused, outcomeFailed),
		samples: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_feedback_samples_total",
			Help: "Samples read from the feedback stream, by the metric they belong to.",
		}, []string{"metric"}),
		lastSample: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_feedback_last_sample_timestamp_seconds",
			Help: "Unix time of the newest sample of the last feedback request that had any.",
		}),
		queueBytes: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_relay_queue_bytes",
			Help: "Compressed bytes that wait for a best-effort upstream.",
		}, []string{"upstream"}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_relay_in_flight_bytes",
		Help: "Bytes that the requests under way take, as they came, decoded and rendered for the upstreams.",
	}, inFlight)
	for _, metric := range []string{metricUp, metricSeries} {
		m.samples.WithLabelValues(metric)
	}
	return m
}

func newIntakeMetrics(auto promauto.Factory, path string, outcomes ...string) *intakeMetrics {
	m := &intakeMetrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_" + path + "_requests_total",
			Help: "Requests with samples from Prometheus, by outcome.",
		}, []string{"outcome"}),
		rejected: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_" + path + "_rejected_requests_total",
			Help: "Requests that the relay itself turned away, by reason.",
		}, []string{"reason"}),
	}
	for _, outcome := range outcomes {
		m.requests.WithLabelValues(outcome)
	}
	for _, reason := range []string{reasonMethod, reasonMediaType, reasonTooLarge, reasonMalformed, reasonRead, reasonOverloaded} {
		m.rejected.WithLabelValues(reason)
	}
	return m
}
