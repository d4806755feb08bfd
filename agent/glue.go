package agent

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/prometheus/common/version"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
)

// carry passes what the parts have to say to each other until ctx ends. Each
// says all that it knows, and only the newest counts.
func (a *Agent) carry(ctx context.Context) error {
	var own scrape.Facts
	said := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case own = <-a.scrape.Facts():
			said = true
		case s := <-a.gossip.Updates():
			a.snapshot.Store(&s)
			a.scrape.SetCluster(cluster(s))
		}
		if !said {
			continue
		}
		facts := gossipFacts(own)
		facts.HTTPAddress = httpAddress(a.web.listener.Addr(), *a.snapshot.Load())
		facts.Zone, facts.Version = a.zone, version.Version
		a.gossip.Publish(facts)
	}
}

// observe takes what Prometheus remote-wrote to its sidecar.
func (a *Agent) observe(samples []relay.Sample) {
	out := make([]scrape.Sample, len(samples))
	for i, s := range samples {
		out[i] = scrape.Sample(s)
	}
	a.scrape.Observe(out)
}

// cluster is what scrape is to know of the members, those that have gone
// included: why they went is the reason of their targets' moves.
func cluster(s gossip.Snapshot) scrape.Cluster {
	c := scrape.Cluster{Known: s.Known}
	for _, m := range s.Members {
		jobs := make(map[uint64]scrape.JobView, len(m.Jobs))
		for _, j := range m.Jobs {
			jobs[j.ID] = scrape.JobView{View: j.View, Applied: j.Applied}
		}
		c.Members = append(c.Members, scrape.Member{
			Name:           m.Name,
			Zone:           m.Zone,
			State:          scrape.State(m.State),
			CapacitySeries: m.CapacitySeries,
			Jobs:           jobs,
		})
	}
	return c
}

// gossipFacts is what the cluster is to know of scrape.
func gossipFacts(f scrape.Facts) gossip.Facts {
	jobs := make([]gossip.JobFacts, 0, len(f.Jobs))
	for id, j := range f.Jobs {
		jobs = append(jobs, gossip.JobFacts{ID: id, View: j.View, Applied: j.Applied})
	}
	slices.SortFunc(jobs, func(a, b gossip.JobFacts) int { return cmp.Compare(a.ID, b.ID) })
	return gossip.Facts{
		State:           gossip.State(f.State),
		PrometheusReady: f.PrometheusReady,
		Targets:         f.Targets,
		Series:          f.Series,
		CapacitySeries:  f.CapacitySeries,
		ConfigHash:      f.ConfigHash,
		View:            f.View,
		AppliedView:     f.AppliedView,
		Jobs:            jobs,
	}
}

// httpAddress is where others reach the HTTP server: one that listens on all
// interfaces, at the address of this member's gossip. Empty until that is known.
func httpAddress(listen net.Addr, s gossip.Snapshot) string {
	addr, err := netip.ParseAddrPort(listen.String())
	if err != nil || !addr.Addr().IsUnspecified() {
		return listen.String()
	}
	for _, m := range s.Members {
		if host, _, err := net.SplitHostPort(m.Address); err == nil && m.Name == s.Self {
			_, port, _ := net.SplitHostPort(listen.String())
			return net.JoinHostPort(host, port)
		}
	}
	return ""
}
