package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/scrape/placement"
)

// simulation is what a change of members makes of a fleet.
type simulation struct {
	Cluster   string            `json:"cluster"`
	Asked     string            `json:"asked"` // the member that was
	Targets   int               `json:"targets"`
	Moved     int               `json:"moved"`     // targets that would get other owners
	Strays    int               `json:"strays"`    // of these, the ones that go from one member to another who both stay
	Imbalance change[float64]   `json:"imbalance"` // targets of the most loaded member, over its share of them
	Differing int               `json:"differing"` // targets whose owners now are not those that these members give
	Members   []simulatedMember `json:"members"`
	Notes     []string          `json:"notes"`
}

type change[T any] struct {
	Before T `json:"before"`
	After  T `json:"after"`
}

type simulatedMember struct {
	Name     string        `json:"name"`
	Zone     string        `json:"zone"`
	Change   string        `json:"change"` // added, removed, or empty
	Capacity change[int64] `json:"capacity_series"`
	Targets  change[int]   `json:"targets"`
	Gained   int           `json:"gained"`
	Lost     int           `json:"lost"`
	Series   change[int64] `json:"series"` // After is an estimate: all targets of a member weigh the same
}

// owned says who scrapes each target.
type owned [][]string

// assign computes who scrapes each of the targets, as each member does for itself.
func assign(targets []scrape.Target, list []placement.Member, sharding scrape.Sharding) owned {
	members := placement.NewMembers(list)
	byReplicas := map[int][]int{}
	for i, t := range targets {
		n := sharding.Replicas
		if k := slices.IndexFunc(sharding.Jobs, func(j scrape.JobSharding) bool { return j.Job == t.Job }); k >= 0 {
			n = cmp.Or(sharding.Jobs[k].Replicas, n)
		}
		if t.Everywhere {
			n = len(list)
		}
		n = max(min(n, len(list)), 1)
		byReplicas[n] = append(byReplicas[n], i)
	}
	out := make(owned, len(targets))
	for replicas, indexes := range byReplicas {
		keys := make([]uint64, len(indexes))
		for k, i := range indexes {
			keys[k] = placement.Key(targets[i].Key)
		}
		owners := placement.Assign(members, replicas, keys, nil)
		for k, i := range indexes {
			for _, o := range owners[k*replicas : (k+1)*replicas] {
				if o >= 0 {
					out[i] = append(out[i], members.At(int(o)).Name)
				}
			}
		}
	}
	return out
}

// simulate compares who scrapes what now with who would, given those members and options.
func simulate(f *fleet, members []placement.Member, sharding scrape.Sharding) *simulation {
	r := &simulation{Cluster: f.Cluster, Asked: f.Self, Targets: len(f.targets), Notes: []string{}}
	rows := r.table(f, members)
	before, after := assign(f.targets, f.owners(), f.sharding), assign(f.targets, members, sharding)
	for i, t := range f.targets {
		if !sameNames(t.Owners, before[i]) {
			r.Differing++
		}
		r.compare(rows, before[i], after[i], t.Everywhere)
	}
	estimate(rows, before, after)
	r.Imbalance.Before = imbalance(r.Members, func(m simulatedMember) (int, int64, bool) {
		return m.Targets.Before, m.Capacity.Before, m.Change != "added"
	})
	r.Imbalance.After = imbalance(r.Members, func(m simulatedMember) (int, int64, bool) {
		return m.Targets.After, m.Capacity.After, m.Change != "removed"
	})
	r.note(f, members, sharding)
	return r
}

// table makes a row of r.Members for everyone who is or would be there.
func (r *simulation) table(f *fleet, members []placement.Member) map[string]*simulatedMember {
	series := map[string]int64{}
	for _, m := range f.Members {
		series[m.Name] = m.Series
	}
	now := f.owners()
	named := func(list []placement.Member, name string) int {
		return slices.IndexFunc(list, func(m placement.Member) bool { return m.Name == name })
	}
	for _, m := range now {
		row := simulatedMember{Name: m.Name, Zone: m.Zone, Capacity: change[int64]{Before: m.Capacity}, Series: change[int64]{Before: series[m.Name]}}
		if i := named(members, m.Name); i >= 0 {
			row.Capacity.After = members[i].Capacity
		} else {
			row.Change = "removed"
		}
		r.Members = append(r.Members, row)
	}
	for _, m := range members {
		if named(now, m.Name) < 0 {
			r.Members = append(r.Members, simulatedMember{Name: m.Name, Zone: m.Zone, Change: "added", Capacity: change[int64]{After: m.Capacity}})
		}
	}
	slices.SortFunc(r.Members, func(a, b simulatedMember) int { return cmp.Compare(a.Name, b.Name) })
	rows := make(map[string]*simulatedMember, len(r.Members))
	for i := range r.Members {
		rows[r.Members[i].Name] = &r.Members[i]
	}
	return rows
}

// compare counts what becomes of one target. One that is scraped everywhere
// comes and goes with the members, and does not move.
func (r *simulation) compare(rows map[string]*simulatedMember, before, after []string, everywhere bool) {
	lost, gained, staysLost, staysGained := 0, 0, 0, 0
	for _, name := range before {
		row := rows[name]
		row.Targets.Before++
		if !slices.Contains(after, name) {
			row.Lost++
			lost++
			if row.Change != "removed" {
				staysLost++
			}
		}
	}
	for _, name := range after {
		row := rows[name]
		row.Targets.After++
		if !slices.Contains(before, name) {
			row.Gained++
			gained++
			if row.Change != "added" {
				staysGained++
			}
		}
	}
	if !everywhere && lost+gained > 0 {
		r.Moved++
	}
	if !everywhere && min(staysLost, staysGained) > 0 {
		r.Strays++
	}
}

// estimate fills in Series.After. What one target weighs is not known, only
// what each member scrapes in all.
func estimate(rows map[string]*simulatedMember, before, after owned) {
	each := map[string]float64{} // series of one target
	for name, row := range rows {
		if row.Targets.Before > 0 {
			each[name] = float64(row.Series.Before) / float64(row.Targets.Before)
		}
	}
	sums := map[string]float64{}
	for i := range before {
		weight := 0.0
		for _, name := range before[i] {
			weight += each[name] / float64(len(before[i]))
		}
		for _, name := range after[i] {
			sums[name] += weight
		}
	}
	for name, row := range rows {
		row.Series.After = int64(math.Round(sums[name]))
	}
}

// imbalance is the largest of the members' loads over their share, which is in
// proportion to the capacities if all give one. of tells a member's load and
// capacity, and whether it counts.
func imbalance(list []simulatedMember, of func(simulatedMember) (load int, capacity int64, counts bool)) float64 {
	members, loads, capacities, weighted := 0, 0, int64(0), true
	for _, m := range list {
		if load, capacity, counts := of(m); counts {
			members, loads, capacities = members+1, loads+load, capacities+capacity
			weighted = weighted && capacity > 0
		}
	}
	most := 0.0
	for _, m := range list {
		load, capacity, counts := of(m)
		if !counts || loads == 0 {
			continue
		}
		share := 1 / float64(members)
		if weighted {
			share = float64(capacity) / float64(capacities)
		}
		most = max(most, float64(load)/float64(loads)/share)
	}
	return most
}

// note says what a person should know of the figures, and of the change.
func (r *simulation) note(f *fleet, members []placement.Member, sharding scrape.Sharding) {
	add := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	if !f.Settled {
		add("the cluster is not settled: %s", f.Unsettled)
	}
	if r.Differing > 0 {
		add("%d targets have other owners now than the active members give: a change or a configuration is rolling out, and what moves for it is not told here", r.Differing)
	}
	if f.total != len(f.targets) {
		add("targets came or went while they were read: %d, then %d", f.total, len(f.targets))
	}
	for _, m := range f.Members {
		after := slices.ContainsFunc(members, func(p placement.Member) bool { return p.Name == m.Name })
		if m.State.Alive() && m.State != scrape.Active && !after {
			add("%s is %s, and owns nothing: it is left out unless it is given with --add", m.Name, m.State)
		}
	}
	if sharding.Replicas > len(members) {
		add("replicas: %d, but %d members: each target is scraped by %[2]d", sharding.Replicas, len(members))
	}
	with := 0
	for _, m := range members {
		if m.Capacity > 0 {
			with++
		}
	}
	if with > 0 && with < len(members) {
		add("%d of %d members give a capacity: it counts only when all do", with, len(members))
	}
	for _, m := range r.Members {
		if m.Change != "removed" && m.Capacity.After > 0 && m.Series.After > m.Capacity.After {
			add("%s would hold about %d series, more than its capacity of %d", m.Name, m.Series.After, m.Capacity.After)
		}
	}
}

func sameNames(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(name string) bool { return !slices.Contains(b, name) })
}
