package scrape

import (
	"context"
	"fmt"
	"slices"
	"sync"
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
	pending   *loaded // a good source whose target files could not be made yet
	staged    *staged // nil: Prometheus has been given the configuration of source
	sourceErr string
	reloaded  time.Time
	gen       generation
	obsolete  []obsolete

	groups   map[string][]*targetgroup.Group
	received time.Time
	files    map[uint64]*jobFile

	health    health
	active    bool      // has been, since the start: files may be written
	ready     bool      // has applied everything since Prometheus became ready
	retryAt   time.Time // of what could not be written
	checkAt   time.Time // of the files
	writeErr  string
	told      string // of what this member waits for to join
	warnings  []string
	waiting   []drainAsk
	moves     []Move
	moved     moveCounts
	burst     int // moves since the last event
	published Facts
	shown     time.Time
	factsAt   time.Time
	now       time.Time

	elsewhere func() *elsewhere // for the core as it was at changes indexed; nil: none yet
	indexed   int
}

// jobFile is what the engine keeps for each job of the core.
type jobFile struct {
	targetFile
	resolver *resolver
	readers  []reader  // what the file must serve: the rules in force, last, and before them those that Prometheus may still run with
	rules    uint64    // digest of those in force
	born     int       // the generation in which Prometheus gets to know the job
	since    time.Time // when its discoveries were configured
	tracking discovery.Configs
	resolved time.Time       // when the groups that its targets were made from were received
	complete bool            // all discoveries have answered since they were configured
	waitsFor string          // why not, for a person
	left     map[string]bool // addresses that the file held when we came; nil once it is ours
	counts   resolved
	warned   bool // of loopback addresses
}

const notAnswered = "discovery has not answered yet"

// read makes the job's rules those in force.
func (f *jobFile) read(j promconfig.Job) {
	r := reader{reads: j.ReadsLabel, self: j.ReadsSelf, restore: j.RestoreFilepath}
	if rules := rulesDigest(j.Config.RelabelConfigs); len(f.readers) == 0 || rules != f.rules {
		f.readers, f.rules = append(slices.Clip(f.readers), r), rules
		return
	}
	f.readers = append(slices.Clone(f.readers[:len(f.readers)-1]), r)
}

// anyReads tells which labels must be kept as they are discovered.
func anyReads(readers []reader) func(label string) bool {
	return func(label string) bool {
		return slices.ContainsFunc(readers, func(r reader) bool { return r.reads(label) })
	}
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
		if from == "" {
			reason = FirstOwner
		}
		e.moved = e.moved.count(e.now, reason)
		if e.burst++; e.burst <= maxMoves {
			url := scrapeURL(j.targets[i].labels, e.files[j.id].resolver.job.Config)
			e.moves = append(e.moves, Move{Time: e.now, Job: j.name, ScrapeURL: url, From: from, To: to, Reason: reason})
		}
	}
	e.core.released = func(j *job, _ int) {
		s.metrics.handover.Observe(e.now.Sub(j.viewSince).Seconds())
	}
	return e
}

// maxMoves is how many moves the status tells of, and how many of those that
// one event causes.
const maxMoves = 200

func (e *engine) loop(ctx context.Context, healths <-chan health) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	begin := sync.OnceFunc(func() { close(e.begun) })
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
			begin()
		case groups, ok := <-e.manager.SyncCh():
			if !ok {
				return
			}
			e.now = time.Now()
			e.groups, e.received = groups, e.now
			e.resolve()
		case e.health = <-healths:
			e.now = time.Now()
			e.core.setPrometheus(e.health.ready, e.health.since, e.now)
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
	mayWrite, retryAt := !e.now.Before(e.retryAt), e.retryAt
	if mayWrite && e.pending != nil {
		e.apply(*e.pending)
	}
	e.noteLoaded()
	e.transition()
	e.core.tick(e.now)
	e.checkFiles()
	if mayWrite && e.active {
		e.writeFiles()
	}
	e.commit()
	if mayWrite && e.retryAt.Equal(retryAt) {
		e.writeErr = ""
	}
	e.removeObsolete()
	e.answerDrains()
	e.publish()
	e.burst = 0
}

// noteLoaded notes which jobs Prometheus knows, and when it runs with the rules
// in force, so that the files need to serve no others.
func (e *engine) noteLoaded() {
	for id, f := range e.files {
		j := e.core.jobs[id]
		if !j.loaded && e.health.loaded >= f.born {
			e.core.setLoaded(id, e.now)
		}
		if len(f.readers) > 1 && e.staged == nil && e.health.loaded == e.gen.number {
			f.readers = f.readers[len(f.readers)-1:]
			j.dirty = true
		}
	}
}

// transition changes this member's state as what is known allows.
func (e *engine) transition() {
	next := e.core.state
	switch e.core.state {
	case Joining:
		loaded := e.source != nil && (e.health.loaded == e.gen.number || e.now.Sub(e.started) >= syncTimeout)
		if e.core.known && e.health.ready && loaded && e.core.synced() {
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
		if !f.complete {
			f.waitsFor = e.seen.waitsFor(f.tracking, e.received, e.now)
			if _, sent := e.groups[name]; !sent {
				f.waitsFor = notAnswered
			}
			f.complete = f.waitsFor == ""
		}
		if f.complete && f.resolved.Before(e.received) {
			e.setTargets(name, f, false)
		}
		e.noteOverdue(name, f)
	}
}

// noteOverdue lets a job whose discovery is silent for long hold up nothing
// but itself. It may just have nothing to say: Kubernetes' sends nothing where
// there are no pods. The job's file stays as it is.
func (e *engine) noteOverdue(name string, f *jobFile) {
	j := e.core.jobs[JobID(name)]
	if overdue := !j.synced && e.now.Sub(f.since) >= syncTimeout; overdue != j.overdue {
		j.overdue = overdue
		if overdue {
			level.Warn(e.logger).Log("msg", "job is not served, its file stays as it is", "job", name, "why", f.waitsFor)
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
	if j := e.core.jobs[id]; !always && j.synced && j.options == j.next && slices.EqualFunc(before.targets, f.counts.targets, sameTarget) {
		return
	}
	e.core.setTargets(id, f.counts.targets, f.left, e.now)
	f.left = nil
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
		if !t.everywhere && promconfig.IsLoopback(t.address) {
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

func (e *engine) selfLabels() model.LabelSet {
	self := model.LabelSet{nodeLabel: model.LabelValue(e.cfg.Node)}
	if e.cfg.Zone != "" {
		self[zoneLabel] = model.LabelValue(e.cfg.Zone)
	}
	return self
}
