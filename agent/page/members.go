package page

import (
	"cmp"
	"slices"

	"github.com/ringside-project/ringside/gossip"
)

// memberRow is a line of the table of members.
type memberRow struct {
	gossip.Member
	Self          bool
	Page          string // URL; empty: none
	Prometheus    string // URL; empty: none
	Config        string // hash, hex
	OtherConfig   bool   // than most members run
	OtherVersion  bool
	OtherView     bool // than this member's
	NotApplied    bool
	Overload      bool
	LoadOfMaximum int // percent of the capacity; 0 without one
}

// mostLoad is the highest load that is told, in percent: a member may say anything.
const mostLoad = 1e6

// Gone tells whether the member takes part no more.
func (r memberRow) Gone() bool { return gone(r.State) }

// Bad tells whether the member is missed: it neither works nor said good-bye.
func (r memberRow) Bad() bool { return r.State == gossip.Dead || r.State == gossip.Unready }

func gone(s gossip.State) bool { return s == gossip.Left || s == gossip.Dead }

// configGroup are the members that run one source configuration.
type configGroup struct {
	Hash  string // hex; empty: none yet
	Names []string
	Most  bool // most members run it
}

func memberRows(m *Model) ([]memberRow, []configGroup) {
	versions, configs := map[string]int{}, map[uint64]int{}
	for _, member := range m.Members {
		if !gone(member.State) {
			versions[member.Version]++
			configs[member.ConfigHash]++
		}
	}
	view := ownView(m)
	usualVersion, usualConfig := most(versions), most(configs)
	names := map[uint64][]string{}
	var rows []memberRow
	for _, member := range m.Members {
		r := memberRow{Member: member, Self: member.Name == m.Gossip.Self, Config: hex(member.ConfigHash)}
		if alive := !gone(member.State); alive {
			r.OtherVersion = member.Version != usualVersion
			r.OtherConfig = member.ConfigHash != usualConfig
			r.OtherView = member.State == gossip.Active && member.View != view
			r.NotApplied = member.State == gossip.Active && member.AppliedView != member.View
			names[member.ConfigHash] = append(names[member.ConfigHash], member.Name)
		}
		if member.CapacitySeries > 0 {
			r.LoadOfMaximum = int(min(float64(member.Series)/float64(member.CapacitySeries)*100, mostLoad))
			r.Overload = member.Series > member.CapacitySeries
		}
		r.setLinks(m)
		rows = append(rows, r)
	}
	var groups []configGroup
	for hash, list := range names {
		groups = append(groups, configGroup{hex(hash), list, hash == usualConfig})
	}
	slices.SortFunc(groups, func(a, b configGroup) int {
		return cmp.Or(cmp.Compare(len(b.Names), len(a.Names)), cmp.Compare(a.Hash, b.Hash))
	})
	return rows, groups
}

// setLinks: where another's Prometheus is only that member knows, which leads there from /prometheus. No member
// says a URL that others would show as a link.
func (r *memberRow) setLinks(m *Model) {
	if r.Self {
		r.Prometheus = m.Prometheus
		return
	}
	scheme := m.Scheme
	if m.Answers[r.Name].TLS {
		scheme = "https"
	}
	if r.Gone() {
		return
	}
	if r.Page = pageURL(scheme, r.HTTPAddress); r.Page != "" {
		r.Prometheus = r.Page + "prometheus"
	}
}

// ownView is this member's view.
func ownView(m *Model) uint64 { return m.Scrape.View }

// most returns the key with the highest count, the lowest of several.
func most[K cmp.Ordered](counts map[K]int) K {
	var best K
	for k, n := range counts {
		if n > counts[best] || n == counts[best] && k < best {
			best = k
		}
	}
	return best
}
