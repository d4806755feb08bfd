package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/ringside-project/ringside/scrape"
)

// registerMetrics registers what is computed from the state when it is asked for.
func registerMetrics(reg prometheus.Registerer, s *state) {
	reg.MustRegister(
		versioncollector.NewCollector("ringside"),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	auto := promauto.With(reg)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_config_last_reload_successful",
		Help: "Whether both ringside.yml and the source prometheus.yml were good when they were last read.",
	}, func() float64 { return number(s.config().err == nil && s.scrape.Status().Source.LastReloadOK) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_config_last_reload_success_timestamp_seconds",
		Help: "When ringside.yml or the source prometheus.yml was last taken over.",
	}, func() float64 {
		at := s.config().at
		if source := s.scrape.Status().Source.LastReload; source.After(at) {
			at = source
		}
		return float64(at.UnixMilli()) / 1000
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_cluster_settled",
		Help: "Whether all active members have one view and have applied it, and nobody is joining or draining.",
	}, func() float64 { return number(s.settled()) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_cluster_source_configs",
		Help: "Different source configurations, sharding options included, among the active members; 1 when all have the same.",
	}, s.sourceConfigs)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_frozen",
		Help: "Whether fewer than cluster.min_members are alive, so that this member keeps its targets and adopts none.",
	}, func() float64 { return number(s.scrape.Status().Frozen) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_draining",
		Help: "Whether this member hands its targets over in order to leave, or has done so: what it says of the others is true no longer then.",
	}, func() float64 { return number(s.scrape.Status().State == scrape.Draining) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_capacity_series",
		Help: "scrape.capacity_series of this member: its weight in sharing out the targets, not yet a limit; 0 when not given.",
	}, func() float64 { return float64(s.config().inForce.Scrape.CapacitySeries) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringside_cluster_load_ratio",
		Help: "Series of the active members that give a capacity over the sum of their capacities; 0 when none gives one.",
	}, s.loadRatio)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
