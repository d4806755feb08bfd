package scrape

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// core is the hand-over: what this member holds, given what it knows of its
// peers, its targets and its Prometheus. Time is told to it; it does no I/O.
// One goroutine uses it.
//
// The rule is that nobody lets go before somebody holds. A target that this
// member ceases to own stays held until all its owners, by this member's view
// of the job, say that they have applied that same view. In doubt - frozen,
// unready, draining, joining - it keeps what it holds and adopts nothing.
type core struct {
	node, zone string
	minMembers int
	capacity   int64
	external   map[string]bool // names of external labels
	configHash uint64

	state           State
	prometheusReady bool
	prometheusSince time.Time         // when that last changed
	known           bool              // the membership is
	peers           map[string]Member // by name, without this member; left and dead ones too
	active          []Member          // those that may own targets, by name, this one among them
	jobs            map[uint64]*job
	names           []string // of jobs, in the source's order

	halted   bool              // nothing is adopted
	byPublic map[uint64][]held // finds the targets of a sample; nil: to be made
	series   int64
	gone     map[uint64]departure // targets let go of and not held again, by publicHash
	changes  int                  // of what is discovered and what of it is held

	moved    func(j *job, i int, from, to, reason string)
	released func(j *job, i int)
}

func newCore(cfg Config) *core {
	return &core{
		node: cfg.Node, zone: cfg.Zone, minMembers: cfg.MinMembers, capacity: cfg.Sharding.CapacitySeries,
		state:    Joining,
		halted:   true,
		peers:    map[string]Member{},
		jobs:     map[uint64]*job{},
		gone:     map[uint64]departure{},
		moved:    func(*job, int, string, string, string) {},
		released: func(*job, int) {},
	}
}

// frozen tells whether so few members are alive that this one must not adopt
// what the others may well be scraping.
func (c *core) frozen() bool {
	alive := 1
	for _, p := range c.peers {
		if p.State.Alive() {
			alive++
		}
	}
	return alive < c.minMembers
}

// setCluster takes over what the gossip knows.
func (c *core) setCluster(cl Cluster, now time.Time) {
	c.known = cl.Known
	c.peers = make(map[string]Member, len(cl.Members))
	for _, m := range cl.Members {
		if m.Name != c.node {
			c.peers[m.Name] = m
		}
	}
	c.review(now)
}

// setState changes what this member is; its views follow at once.
func (c *core) setState(s State, now time.Time) {
	c.state = s
	c.review(now)
}

// setJobs replaces the jobs. One that stays keeps its targets, its owners and
// its options until setTargets.
func (c *core) setJobs(names []string, next []options, now time.Time) {
	jobs := make(map[uint64]*job, len(names))
	for i, name := range names {
		id := JobID(name)
		j := c.jobs[id]
		if j == nil {
			j = &job{id: id, name: name, self: -1, options: next[i]}
		}
		j.next = next[i]
		jobs[id] = j
	}
	c.jobs, c.names = jobs, names
	c.changed()
	c.recount()
	c.review(now)
}

// setExternal replaces the names of the external labels. Targets must be
// resolved anew, and what was let go of is not found by its labels any more.
func (c *core) setExternal(names map[string]bool) {
	if !maps.Equal(names, c.external) {
		c.external = names
		clear(c.gone)
		c.changed()
	}
}

// setTargets replaces the targets of one job; see job.setTargets.
func (c *core) setTargets(id uint64, targets []target, inFile map[string]bool, now time.Time) {
	j := c.jobs[id]
	first := !j.synced
	j.setTargets(targets, inFile)
	c.recount()
	if !c.reviewJob(j, now) {
		c.adopt(j, first)
	}
}

// review brings every job's view up to date.
func (c *core) review(now time.Time) {
	halted := c.state != Active || c.frozen()
	turned := halted != c.halted
	c.halted = halted
	c.active = c.active[:0]
	for _, p := range c.peers {
		if p.State == Active {
			c.active = append(c.active, p)
		}
	}
	if c.state == Active {
		c.active = append(c.active, Member{Name: c.node, Zone: c.zone, CapacitySeries: c.capacity})
	}
	slices.SortFunc(c.active, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	for _, j := range c.jobs {
		if !c.reviewJob(j, now) && turned {
			c.adopt(j, true)
		}
	}
}

// reviewJob recomputes the job's view and tells whether it changed.
func (c *core) reviewJob(j *job, now time.Time) bool {
	prev := j.members
	changed := j.setView(c.membersOf(j), c.node, now, func(i int, from, to string) {
		c.moved(j, i, from, to, c.reason(from, to, prev))
	})
	if changed {
		c.adopt(j, true)
	}
	return changed
}

func (c *core) adopt(j *job, await bool) {
	j.adopt(c.halted, await)
	c.changed()
	for i := 0; i < len(j.holds) && len(c.gone) > 0; i++ {
		if j.holds[i].held {
			delete(c.gone, j.targets[i].public)
		}
	}
}

// changed notes that other targets are discovered, or others of them held.
func (c *core) changed() {
	c.byPublic = nil
	c.changes++
}

// tick releases what others are now known to scrape.
func (c *core) tick(now time.Time) {
	if c.halted {
		return
	}
	for _, j := range c.jobs {
		if j.leaving > 0 && now.Sub(j.viewSince) >= settleView {
			j.release(c.confirmed(j), func(i int) {
				c.released(j, i)
				c.gone[j.targets[i].public] = departure{j.targets[i].labels, now}
				c.changed()
			})
		}
	}
	if c.byPublic == nil {
		c.recount()
		maps.DeleteFunc(c.gone, func(_ uint64, d departure) bool { return now.Sub(d.at) > departedFor })
	}
}

// setPrometheus notes whether Prometheus answers, and since when. When it is
// back it has to be seen to scrape every target anew.
func (c *core) setPrometheus(ready bool, since, now time.Time) {
	if ready && !since.Equal(c.prometheusSince) {
		for _, j := range c.jobs {
			j.forget(now)
		}
	}
	c.prometheusReady, c.prometheusSince = ready, since
}

// setLoaded notes that Prometheus runs with a configuration that has the job.
func (c *core) setLoaded(id uint64, now time.Time) {
	if j := c.jobs[id]; !j.loaded {
		j.loaded = true
		c.reviewJob(j, now)
	}
}

// synced tells whether the discovery of every job has answered, but for those
// that nobody waits for any more.
func (c *core) synced() bool {
	for _, j := range c.jobs {
		if !j.synced && !j.overdue {
			return false
		}
	}
	return true
}

// facts are what this member has to say of itself.
func (c *core) facts() Facts {
	f := Facts{
		State: c.state, PrometheusReady: c.prometheusReady,
		Series: c.series, CapacitySeries: c.capacity, ConfigHash: c.configHash,
		Jobs: make(map[uint64]JobView, len(c.jobs)),
	}
	ids := make([]uint64, 0, len(c.jobs))
	for id := range c.jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var views []uint64
	all := c.state == Active
	for _, id := range ids {
		j := c.jobs[id]
		f.Targets += j.local
		if !j.synced || !j.loaded {
			all = all && j.overdue
			continue
		}
		v := JobView{View: j.view}
		if c.applied(j) {
			v.Applied = j.view
		} else {
			all = false
		}
		f.Jobs[id] = v
		views = append(views, id, j.view)
	}
	f.View = digest(views...)
	if all {
		f.AppliedView = f.View
	}
	return f
}

// drained tells of a draining member's targets how many there are to hand
// over, how many of them each heir was seen to scrape, and which nobody was.
// Those that are scraped everywhere are no one's to hand over.
func (c *core) drained(now time.Time) (total int, handed map[string]int, open []held) {
	handed = map[string]int{}
	for _, name := range c.names {
		j := c.jobs[JobID(name)]
		confirmed := c.confirmed(j)
		for i, h := range j.holds {
			if !h.held || j.targets[i].everywhere {
				continue
			}
			total++
			if now.Sub(j.viewSince) < settleView || !j.confirmedElsewhere(i, confirmed) {
				open = append(open, held{j, i})
				continue
			}
			for _, heir := range names(j.members, j.ownersOf(i)) {
				handed[heir]++
			}
		}
	}
	return total, handed, open
}

// heirs tells whether anybody is there to take this member's targets.
func (c *core) heirs() bool {
	for _, p := range c.peers {
		if p.State.Alive() && p.State != Draining {
			return true
		}
	}
	return false
}
