package scrape

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	targets          *prometheus.GaugeVec
	moves            *prometheus.CounterVec
	unowned          prometheus.Gauge
	handover         prometheus.Histogram
	series           prometheus.Gauge
	fileWrites       *prometheus.CounterVec
	fileErrors       prometheus.Counter
	invalid          *prometheus.GaugeVec
	prometheusReady  prometheus.Gauge
	prometheusLoaded prometheus.Gauge

	jobs map[string]bool // shown last
}

// moveReasons are the values of the label reason.
var moveReasons = []string{"join", "leave", "crash", "unready", "draining", "config"}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	m := &metrics{
		targets: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_targets",
			Help: "Targets in the file of this member's Prometheus by phase, and those that nobody may scrape.",
		}, []string{"job", "phase"}),
		moves: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_target_moves_total",
			Help: "Targets that this member got from another one, by what caused it.",
		}, []string{"reason"}),
		unowned: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_unowned_targets",
			Help: "Discovered targets that no member may scrape, as this member sees it.",
		}),
		handover: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "ringside_handover_duration_seconds",
			Help:    "From the change of view that took a target away until its new owners were seen to scrape it and it was released.",
			Buckets: []float64{1, 2, 4, 8, 15, 30, 60, 90, 120, 180, 300, 600}, // a little more than usual scrape intervals are apart
		}),
		series: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_load_series",
			Help: "Series that the last scrapes of this member's targets brought, after metric relabelling.",
		}),
		fileWrites: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_target_file_writes_total",
			Help: "Target files written because their content changed.",
		}, []string{"job"}),
		fileErrors: auto.NewCounter(prometheus.CounterOpts{
			Name: "ringside_file_write_errors_total",
			Help: "Writes of target files or of the generated configuration that went wrong; the old file stays.",
		}),
		invalid: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_invalid_targets",
			Help: "Discovered targets that are refused as Prometheus refuses them.",
		}, []string{"job"}),
		prometheusReady: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_prometheus_ready",
			Help: "Whether the Prometheus beside this sidecar answers that it is ready.",
		}),
		prometheusLoaded: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ringside_prometheus_config_loaded",
			Help: "Whether Prometheus is known to run with the configuration that was generated last.",
		}),
	}
	for _, reason := range moveReasons {
		m.moves.WithLabelValues(reason)
	}
	return m
}

// show sets the gauges of every job, and drops those of jobs that have gone.
func (m *metrics) show(jobs []JobStatus) {
	gone := m.jobs
	m.jobs = make(map[string]bool, len(jobs))
	unowned := 0
	for _, j := range jobs {
		m.targets.WithLabelValues(j.Job, PhaseActive).Set(float64(j.Local - j.Adopting - j.Releasing))
		m.targets.WithLabelValues(j.Job, PhaseAdopting).Set(float64(j.Adopting))
		m.targets.WithLabelValues(j.Job, PhaseReleasing).Set(float64(j.Releasing))
		m.targets.WithLabelValues(j.Job, PhaseUnowned).Set(float64(j.Unowned))
		m.invalid.WithLabelValues(j.Job).Set(float64(j.Invalid))
		m.fileWrites.WithLabelValues(j.Job)
		unowned += j.Unowned
		m.jobs[j.Job] = true
		delete(gone, j.Job)
	}
	for job := range gone {
		m.targets.DeletePartialMatch(prometheus.Labels{"job": job})
		m.invalid.DeleteLabelValues(job)
		m.fileWrites.DeleteLabelValues(job)
	}
	m.unowned.Set(float64(unowned))
}

func boolGauge(g prometheus.Gauge, b bool) {
	g.Set(0)
	if b {
		g.Set(1)
	}
}
