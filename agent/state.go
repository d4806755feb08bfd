package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
)

// statuser is the engine, as seen by those who only look.
type statuser interface {
	Status() *scrape.Status
}

// state is what the sidecar knows at the moment it is asked.
type state struct {
	cluster  string // its name
	scrape   statuser
	snapshot func() *gossip.Snapshot
	config   func() reloadStatus // ringside.yml, as last read
}

// members are those of the newest snapshot. What this member says of itself
// is taken from its own mouth: the gossip may be a moment behind. What those
// that have gone said of themselves last is true no longer.
func (s *state) members() []gossip.Member {
	snapshot := s.snapshot()
	own := gossipFacts(s.scrape.Status().Facts)
	members := slices.Clone(snapshot.Members)
	for i := range members {
		if m := &members[i]; m.State == gossip.Left || m.State == gossip.Dead {
			m.PrometheusReady, m.Targets, m.Series, m.AppliedView = false, 0, 0, 0
		}
	}
	i := slices.IndexFunc(members, func(m gossip.Member) bool { return m.Name == snapshot.Self })
	if i < 0 {
		members = append(members, gossip.Member{Name: snapshot.Self, Facts: own})
		slices.SortFunc(members, func(a, b gossip.Member) int { return cmp.Compare(a.Name, b.Name) })
		return members
	}
	said := members[i].Facts
	own.Zone, own.HTTPAddress, own.Version = said.Zone, said.HTTPAddress, said.Version
	members[i].Facts = own
	return members
}

// unsettled says why the cluster is not settled, for a person; empty: it is.
// It is when all active members have one and the same view and have applied
// it, and nobody is joining or draining. Without any active member it is not.
func unsettled(members []gossip.Member) string {
	var reasons []string
	var view uint64
	active, views := 0, map[uint64]bool{}
	for _, m := range members {
		switch m.State {
		case gossip.Joining, gossip.Draining:
			reasons = append(reasons, fmt.Sprintf("%s is %s", m.Name, m.State))
		case gossip.Active:
			active++
			view = m.View
			views[view] = true
			if m.AppliedView != m.View || m.View == 0 {
				reasons = append(reasons, m.Name+" has yet to be seen to scrape its targets")
			}
		}
	}
	switch {
	case active == 0:
		reasons = append(reasons, "no member is active")
	case len(views) > 1:
		reasons = append(reasons, "members have different views")
	}
	return strings.Join(reasons, "; ")
}

func (s *state) settled() bool { return unsettled(s.members()) == "" }

// sourceConfigs counts the different source configurations of the active members.
func (s *state) sourceConfigs() float64 {
	hashes := map[uint64]bool{}
	for _, m := range s.members() {
		if m.State == gossip.Active {
			hashes[m.ConfigHash] = true
		}
	}
	return float64(len(hashes))
}

// loadRatio is the series of the active members that give a capacity over
// that capacity; 0 when none gives one.
func (s *state) loadRatio() float64 {
	var series, capacity int64
	for _, m := range s.members() {
		if m.State == gossip.Active && m.CapacitySeries > 0 {
			series += m.Series
			capacity += m.CapacitySeries
		}
	}
	if capacity == 0 {
		return 0
	}
	return float64(series) / float64(capacity)
}

// hex renders a digest; zero means that there is none.
func hex(digest uint64) string {
	if digest == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", digest)
}
