package relay

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why a request is rejected: the values of the label reason.
const (
	reasonMethod     = "method"     // not a POST
	reasonMediaType  = "media_type" // neither of the two protobuf messages, or not snappy
	reasonTooLarge   = "too_large"  // over maxBody or maxItems
	reasonMalformed  = "malformed"  // snappy, protobuf or its contents
	reasonRead       = "read"       // the body did not arrive
	reasonOverloaded = "overloaded" // maxConcurrent others under way
)

// Outcomes of a request.
const (
	outcomeAccepted = "accepted"
	outcomeRejected = "rejected"
)

type metrics struct {
	requests   *prometheus.CounterVec
	rejected   *prometheus.CounterVec
	samples    *prometheus.CounterVec
	lastSample prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	m := &metrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_feedback_requests_total",
			Help: "Feedback requests from Prometheus, by outcome.",
		}, []string{"outcome"}),
		rejected: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_feedback_rejected_requests_total",
			Help: "Feedback requests rejected, by reason.",
		}, []string{"reason"}),
		samples: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_feedback_samples_total",
			Help: "Samples read from the feedback stream, by the metric they belong to.",
		}, []string{"metric"}),
		lastSample: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_feedback_last_sample_timestamp_seconds",
			Help: "Unix time of the newest sample of the last feedback request that had any.",
		}),
	}
	for _, outcome := range []string{outcomeAccepted, outcomeRejected} {
		m.requests.WithLabelValues(outcome)
	}
	for _, reason := range []string{reasonMethod, reasonMediaType, reasonTooLarge, reasonMalformed, reasonRead, reasonOverloaded} {
		m.rejected.WithLabelValues(reason)
	}
	for _, metric := range []string{metricUp, metricSeries} {
		m.samples.WithLabelValues(metric)
	}
	return m
}
