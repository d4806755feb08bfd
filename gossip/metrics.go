package gossip

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	members     *prometheus.GaugeVec
	known       prometheus.Gauge
	troubles    map[trouble]prometheus.Counter
	factsBytes  prometheus.Gauge
	factsSent   *prometheus.CounterVec
	factsHeard  *prometheus.CounterVec
	joins       *prometheus.CounterVec
	lastRejoin  prometheus.Gauge
	dnsFailures prometheus.Counter
	keys        prometheus.Gauge
	keyReloads  *prometheus.CounterVec
	logDropped  prometheus.Counter
}

// The values of the label outcome.
const (
	outcomeOK      = "ok"
	outcomeError   = "error"
	outcomeNew     = "new"
	outcomeOld     = "old"
	outcomeInvalid = "invalid"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	outcomes := func(name, help string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"outcome"})
		for _, o := range values {
			v.WithLabelValues(o)
		}
		return v
	}
	m := &metrics{
		members: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringside_cluster_members",
			Help: "Members of the cluster as this one sees them, by state. Those that left or died are counted for 5 minutes.",
		}, []string{"state"}),
		known: gauge("ringside_gossip_membership_known", "1 once a peer has answered or it is clear that there is none."),
		troubles: map[trouble]prometheus.Counter{
			nameConflict: counter("ringside_gossip_name_conflicts_total", "Messages that claim a member's name for another address."),
			foreignLabel: counter("ringside_gossip_foreign_label_total", "Packets and streams of a cluster of another name."),
			wrongKey:     counter("ringside_gossip_wrong_key_total", "Packets and streams under a key that is not in the key file, or under none."),
			garbage:      counter("ringside_gossip_garbage_total", "Packets and streams that are not gossip."),
		},
		factsBytes: gauge("ringside_gossip_facts_size_bytes", "Size of the newest message in which this member says its facts."),
		factsSent: outcomes("ringside_gossip_facts_sent_total", "Messages with this member's facts, one for each recipient.",
			outcomeOK, outcomeError),
		factsHeard: outcomes("ringside_gossip_facts_received_total", "Messages with facts of others, directly and in push/pulls.",
			outcomeNew, outcomeOld, outcomeInvalid),
		joins: outcomes("ringside_gossip_joins_total", "Attempts to join a peer that is not a living member.", outcomeOK, outcomeError),
		lastRejoin: gauge("ringside_gossip_last_rejoin_timestamp_seconds",
			"When the peers were last resolved and those missing were tried."),
		dnsFailures: counter("ringside_gossip_dns_failures_total", "Look-ups of a peer that failed: the last answer was used, if there was one."),
		keys:        gauge("ringside_gossip_keys", "Keys in the key ring. 0 = gossip is not encrypted."),
		keyReloads:  outcomes("ringside_gossip_key_reloads_total", "Key files read because they had changed. On an error the old keys stay.", outcomeOK, outcomeError),
		logDropped:  counter("ringside_gossip_log_lines_dropped_total", "Log lines of memberlist dropped because they came too fast."),
	}
	for _, s := range states {
		m.members.WithLabelValues(string(s))
	}
	return m
}

func (m *metrics) count(members []Member) {
	n := map[State]int{}
	for _, x := range members {
		n[x.State]++
	}
	for _, s := range states {
		m.members.WithLabelValues(string(s)).Set(float64(n[s]))
	}
}
