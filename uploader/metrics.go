package uploader

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The outcomes of ringside_upload_blocks_total.
const (
	outcomeUploaded = "uploaded" // as it was
	outcomeMerged   = "merged"   // within a block made of several
	outcomeCovered  = "covered"  // the bucket had its samples already
	outcomeRefused  = "refused"
	outcomeFailed   = "failed" // an attempt; it is tried again
)

type metrics struct {
	blocks        *prometheus.CounterVec
	atHand        *prometheus.GaugeVec
	bytes         prometheus.Counter
	lag           prometheus.Gauge
	duration      prometheus.Histogram
	refused       prometheus.Gauge
	held          prometheus.Gauge
	warnings      prometheus.Gauge
	enabled       prometheus.Gauge
	reachable     prometheus.Gauge
	flushSamples  prometheus.Counter
	flushFailures prometheus.Counter
	flushDuration prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		})
	}
	m := &metrics{
		blocks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_upload_blocks_total",
			Help: "Blocks of the data directory by what became of them: uploaded as they were, merged into an uploaded one, covered by what the bucket had, refused, or failed, which is tried again.",
		}, []string{"outcome"}),
		atHand: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_upload_blocks",
			Help: "Blocks of the data directory, and those that are staged, by state, as the status has them.",
		}, []string{"state"}),
		bytes: f.NewCounter(prometheus.CounterOpts{
			Name: "ringside_upload_bytes_total",
			Help: "Bytes of index and chunks that reached the bucket, or were found there by an attempt that went on.",
		}),
		lag: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_lag_seconds",
			Help: "Age of the oldest block that is complete and neither in the bucket nor refused; 0 when there is none.",
		}),
		duration: histogram("ringside_upload_duration_seconds", "Time that the upload of a block took, when it succeeded.", prometheus.ExponentialBuckets(0.25, 4, 9)),
		refused: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_refused_blocks",
			Help: "Blocks of the data directory that are not uploaded, or not all of them; the status says why.",
		}),
		held: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_held",
			Help: "Whether nothing may be uploaded at all; the status says why.",
		}),
		warnings: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_warnings",
			Help: "What of Prometheus's command line stands in the way of uploads; the status says what.",
		}),
		enabled: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_enabled",
			Help: "Whether ringside.yml names a bucket.",
		}),
		reachable: f.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_upload_bucket_reachable",
			Help: "Whether the bucket served the last request that tells.",
		}),
		flushSamples: f.NewCounter(prometheus.CounterOpts{
			Name: "ringside_flush_samples_total",
			Help: "Samples of heads that were cut into blocks because Prometheus had gone.",
		}),
		flushFailures: f.NewCounter(prometheus.CounterOpts{
			Name: "ringside_flush_failures_total",
			Help: "Times that a head could not be cut into blocks.",
		}),
		flushDuration: histogram("ringside_flush_duration_seconds", "Time that it took to cut a head into blocks.", prometheus.ExponentialBuckets(0.25, 4, 9)),
	}
	for _, o := range []string{outcomeUploaded, outcomeMerged, outcomeCovered, outcomeRefused, outcomeFailed} {
		m.blocks.WithLabelValues(o)
	}
	m.tell(nil)
	return m
}

// tell sets the number of blocks in each state.
func (m *metrics) tell(blocks []BlockStatus) {
	count := map[string]int{}
	for _, b := range blocks {
		count[b.State]++
	}
	for _, s := range []string{stateWaiting, stateUploading, stateUploaded, stateCovered, stateMerged, stateRefused, stateFailed} {
		m.atHand.WithLabelValues(s).Set(float64(count[s]))
	}
}
