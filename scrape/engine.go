package scrape

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// engine joins the pure core with the disk, the discovery and Prometheus. Its
// one goroutine takes in whatever comes, and then lets everything follow from
// the state it has: there is one way from any event to the files.
type engine struct {
	*Scrape
	core    *core
	manager *discovery.Manager
	wanted  chan generation
	seen    *sightings
	started time.Time

	source    *promconfig.Source // the last good one; nil: none yet
	sharding  Sharding
	rules     uint64
	pending   *loaded // a good source that could not be written yet
	sourceErr string
	reloaded  time.Time
	gen       generation
	obsolete  []obsolete

	groups   map[string][]*targetgroup.Group
	received time.Time
	files    map[uint64]*jobFile

	health    health
	active    bool // has been, since the start: files may be written
	ready     bool // has applied everything since Prometheus became ready
	retryAt   time.Time
	writeErr  string
	warnings  []string
	waiting   []drainAsk
	moves     []Move
	published Facts
	shown     time.Time
	factsAt   time.Time
	now       time.Time
}

// jobFile is what the engine keeps for each job of the core.
type jobFile struct {
	targetFile
	resolver *resolver
	tracking discovery.Configs
	resolved time.Time      // when the groups that its targets were made from were received
	complete bool           // all discoveries have answered since they were configured
	waitsFor string         // why not, for a person
	left     map[entry]bool // what the file held when we came; nil once it is ours
	counts   resolved
	warned   bool // of loopback addresses
}

// obsolete is the file of a job that is no more. Prometheus must not find it
// missing before it runs with a configuration without the job.
type obsolete struct {
	path string
	gen  int
}

func newEngine(s *Scrape, manager *discovery.Manager, wanted chan generation) *engine {
	e := &engine{
		Scrape: s, core: newCore(s.cfg), manager: manager, wanted: wanted,
		seen: newSightings(), started: time.Now(), files: map[uint64]*jobFile{},
	}
	e.core.moved = func(j *job, i int, from, to, reason string) {
		if to == s.cfg.Node && from != "" {
			s.metrics.moves.WithLabelValues(reason).Inc()
		}
		if len(e.moves) < 2*maxMoves {
			url := scrapeURL(j.targets[i].labels, e.files[j.id].resolver.job.Config)
			e.moves = append(e.moves, Move{Time: e.now, Job: j.name, ScrapeURL: url, From: from, To: to, Reason: reason})
		}
	}
	e.core.released = func(j *job, _ int) {
		s.metrics.handover.Observe(e.now.Sub(j.viewSince).Seconds())
	}
	return e
}

// maxMoves is how many moves the status tells of.
const maxMoves = 200

func (e *engine) loop(ctx context.Context, healths <-chan health) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	defer func() {
		for _, ask := range e.waiting {
			ask.answer <- drainAnswer{e.drainReport(), ErrUnconfirmed}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-e.clusters:
			e.now = time.Now()
			e.core.setCluster(c, e.now)
		case l := <-e.Scrape.source.out:
			e.now = time.Now()
			e.take(l)
		case groups, ok := <-e.manager.SyncCh():
			if !ok {
				return
			}
			e.now = time.Now()
			e.groups, e.received = groups, e.now
			e.resolve()
		case e.health = <-healths:
			e.now = time.Now()
			e.core.setPrometheus(e.health.ready, e.now)
		case <-e.notice:
			e.now = time.Now()
			e.core.observe(e.takeObserved())
		case ask := <-e.drains:
			e.now = time.Now()
			e.waiting = append(e.waiting, ask)
			if e.core.state != Draining {
				level.Info(e.logger).Log("msg", "draining", "targets", e.core.facts().Targets)
				e.core.setState(Draining, e.now)
			}
		case <-ticker.C:
			e.now = time.Now()
			e.resolve()
		}
		e.follow()
	}
}

// follow lets everything follow from the state that there is now.
func (e *engine) follow() {
	if e.pending != nil && !e.now.Before(e.retryAt) {
		e.apply(*e.pending)
	}
	e.transition()
	e.core.tick(e.now)
	if e.active && !e.now.Before(e.retryAt) {
		e.writeFiles()
	}
	e.removeObsolete()
	e.answerDrains()
	e.publish()
}

// transition changes this member's state as what is known allows.
func (e *engine) transition() {
	next := e.core.state
	switch e.core.state {
	case Joining:
		patient := e.now.Sub(e.started) < syncTimeout
		loaded := e.gen.number > 0 && (e.health.loaded == e.gen.number || !patient)
		if e.core.known && e.health.ready && loaded && (e.core.synced() || !patient) {
			next = Active
		}
	case Active:
		if !e.health.ready && e.now.Sub(e.health.since) >= unreadyAfter {
			next = Unready
		}
	case Unready:
		if e.health.ready {
			next = Active
		}
	}
	if next != e.core.state {
		level.Info(e.logger).Log("msg", "state", "from", e.core.state, "to", next)
		e.active = e.active || next == Active
		e.core.setState(next, e.now)
	}
}

// resolve brings the targets of every job up to date with what has been
// discovered. A job some of whose discoveries have not answered since they
// were configured keeps the targets it has.
func (e *engine) resolve() {
	for _, name := range e.core.names {
		f := e.files[JobID(name)]
		if _, sent := e.groups[name]; !sent {
			f.waitsFor = "discovery has not answered yet"
			continue
		}
		if !f.complete {
			last, waitsFor := e.seen.answered(f.tracking, e.now)
			if f.waitsFor = waitsFor; waitsFor != "" || last.After(e.received) {
				continue
			}
			f.complete = true
		}
		if f.resolved.Before(e.received) {
			e.setTargets(name, f, false)
		}
	}
}

// setTargets resolves the job's target groups anew. With always the core is
// told even if nothing seems to have changed: other rules may read other labels.
func (e *engine) setTargets(name string, f *jobFile, always bool) {
	id := JobID(name)
	before := f.counts
	f.counts, f.resolved = f.resolver.resolve(e.groups[name]), e.received
	if f.counts.err != nil && (before.err == nil || f.counts.err.Error() != before.err.Error()) {
		level.Warn(e.logger).Log("msg", "targets refused as Prometheus refuses them", "job", name, "targets", f.counts.invalid, "err", f.counts.err)
	}
	e.warnOfLoopback(name, f)
	if !always && e.core.jobs[id].synced && slices.EqualFunc(before.targets, f.counts.targets, sameTarget) {
		return
	}
	var inFile func(target) bool
	if left := f.left; left != nil {
		self := e.selfLabels()
		inFile = func(t target) bool {
			en, err := entryOf(t, f.resolver.job, self)
			return err == nil && left[en]
		}
		f.left = nil
	}
	e.core.setTargets(id, f.counts.targets, inFile, e.now)
}

// sameTarget tells whether b is a, as discovered too: then its entry in the
// file is the same.
func sameTarget(a, b target) bool {
	return a.id == b.id && a.key == b.key && a.public == b.public && a.everywhere == b.everywhere &&
		(a.group == b.group && a.index == b.index ||
			a.group.Targets[a.index].Equal(b.group.Targets[b.index]) && a.group.Labels.Equal(b.group.Labels))
}

// warnOfLoopback says, once a job, that its sharded targets are on addresses
// that mean another server in every pod. Those in static_configs are found
// when the source is read.
func (e *engine) warnOfLoopback(name string, f *jobFile) {
	if f.warned {
		return
	}
	for _, c := range f.resolver.job.Discovery {
		if _, static := c.(discovery.StaticConfig); static {
			return
		}
	}
	for _, t := range f.counts.targets {
		if !t.everywhere && isLoopback(t.address) {
			f.warned = true
			warning := fmt.Sprintf("job %q: target %s is on a loopback address, which means another server beside every member; "+
				"give the job everywhere: true under scrape.jobs, and put the node into instance with a relabel rule: "+
				"{source_labels: [%s], target_label: instance}", name, t.address, nodeLabel)
			e.warnings = append(e.warnings, warning)
			level.Warn(e.logger).Log("msg", warning)
			return
		}
	}
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (e *engine) selfLabels() model.LabelSet {
	self := model.LabelSet{nodeLabel: model.LabelValue(e.cfg.Node)}
	if e.cfg.Zone != "" {
		self[zoneLabel] = model.LabelValue(e.cfg.Zone)
	}
	return self
}
