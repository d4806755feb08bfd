package scrape

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/scrape/placement"
)

// A world is some members with their cores, gossip with delays between them,
// and a Prometheus beside each that scrapes what is in its file. Its clock
// ticks in steps of 100 ms.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	interval time.Duration
	replicas int
	targets  []target
	members  []*simMember

	everything map[uint64]target // that was ever discovered; nil: ends of series are not watched
	ended      map[bool]int      // ends of series, by whether others scrape the target on
}

type simMember struct {
	core       *core
	name       string
	alive      bool            // the sidecar
	prometheus bool            // runs
	upSince    time.Time       // of prometheus
	downSince  time.Time       // of prometheus
	file       map[uint64]bool // target ids that Prometheus finds
	scraping   map[uint64]bool // that it has scraped since they are in the file
	next       map[uint64]time.Time
	heard      map[string][]message
	told       string
	starts     int      // of the sidecar
	endings    []ending // that its Prometheus has yet to write
}

// detection is how long it may take until all know of a crash: 3.5 s, and the
// gossip's delay.
const detection = 4500 * time.Millisecond

type message struct {
	at     time.Time
	member Member
}

func newWorld(t *testing.T, seed uint64, members, targets, replicas int) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1_000_000, 0),
		interval: time.Second, replicas: replicas,
	}
	w.targets = w.makeTargets(0, targets)
	for i := range members {
		w.members = append(w.members, &simMember{name: fmt.Sprintf("m%d", i)})
	}
	for _, m := range w.members {
		w.start(m)
	}
	return w
}

func (w *world) makeTargets(from, to int) []target {
	var out []target
	for i := from; i < to; i++ {
		ls := labels.FromStrings("__address__", fmt.Sprintf("10.0.0.%d:80", i), "job", "j", "instance", fmt.Sprint(i))
		out = append(out, target{
			labels: ls, address: ls.Get("__address__"), id: identity(ls, "u"), key: placement.Key(fmt.Sprint(i)),
			public: publicHash(ls, nil),
			group:  &targetgroup.Group{Source: fmt.Sprint(i), Targets: []model.LabelSet{{"__address__": model.LabelValue(ls.Get("__address__"))}}},
		})
	}
	return out
}

// start starts a sidecar; its file stays as it was. A Prometheus that does not
// run is started too.
func (w *world) start(m *simMember) {
	m.core = newCore(Config{Node: m.name, MinMembers: 1, Sharding: Sharding{Replicas: w.replicas}})
	m.core.released = func(j *job, i int) { w.checkRelease(m, j.targets[i].id) }
	m.core.setJobs([]string{"j"}, []options{{digest: 1, replicas: w.replicas}}, w.now)
	m.core.setLoaded(JobID("j"), w.now)
	m.alive, m.told = true, ""
	m.starts++
	m.heard = map[string][]message{}
	left := map[string]bool{}
	for _, t := range w.targets {
		left[t.address] = m.file[t.id]
	}
	m.core.setTargets(JobID("j"), w.targets, left, w.now)
	m.startPrometheus(w.now)
	if m.file == nil {
		m.file = map[uint64]bool{}
	}
	for _, other := range w.members {
		if other != m && other.core != nil {
			other.told = "" // tells the newcomer
		}
	}
}

// checkRelease is the rule: nobody lets go before somebody holds. A Prometheus
// that crashed so lately that nobody can know of it counts.
func (w *world) checkRelease(m *simMember, id uint64) {
	for _, other := range w.members {
		scrapes := other.prometheus && other.file[id] && other.scraping[id]
		crashed := w.now.Sub(other.downSince) < detection && (other.file[id] || other.scraping[id])
		if other != m && (scrapes || crashed) {
			return
		}
	}
	w.t.Fatalf("%s let go of %x at %s, and nobody was scraping it", m.name, id, w.now.Sub(time.Unix(1_000_000, 0)))
}

func (w *world) step() {
	w.now = w.now.Add(100 * time.Millisecond)
	for _, m := range w.members {
		if m.prometheus {
			w.scrape(m)
		}
		if m.alive {
			w.run(m)
		}
		if w.everything != nil {
			w.relay(m)
		}
	}
}

// discover makes these the targets that every living sidecar discovers.
func (w *world) discover(targets []target) {
	w.targets = targets
	w.remember()
	for _, m := range w.members {
		if m.alive {
			m.core.setTargets(JobID("j"), w.targets, nil, w.now)
		}
	}
}

// watch has the ends of series looked at from now on.
func (w *world) watch() {
	w.everything, w.ended = map[uint64]target{}, map[bool]int{}
	w.remember()
}

func (w *world) remember() {
	for _, t := range w.targets {
		if w.everything != nil {
			w.everything[t.id] = t
		}
	}
}

// run is what the engine does around the core.
func (w *world) run(m *simMember) {
	c := m.core
	cluster := Cluster{Known: true}
	for _, other := range w.members {
		if other == m {
			continue
		}
		queue := m.heard[other.name]
		for len(queue) > 1 && !queue[1].at.After(w.now) {
			queue = queue[1:]
		}
		m.heard[other.name] = queue
		if len(queue) > 0 && !queue[0].at.After(w.now) {
			cluster.Members = append(cluster.Members, queue[0].member)
		}
	}
	c.setCluster(cluster, w.now)
	c.setPrometheus(m.prometheus, m.upSince, w.now)
	switch {
	case (c.state == Joining || c.state == Unready) && m.prometheus:
		c.setState(Active, w.now)
	case c.state == Active && !m.prometheus && w.now.Sub(m.downSince) > unreadyAfter:
		c.setState(Unready, w.now)
	}
	c.tick(w.now)
	if j := c.jobs[JobID("j")]; j.dirty && c.state != Joining {
		m.write(j, w)
	}
	w.tell(m)
}

func (m *simMember) write(j *job, w *world) {
	file := map[uint64]bool{}
	for i, h := range j.holds {
		if h.held {
			file[j.targets[i].id] = true
		}
	}
	m.end(w, file)
	for id := range m.scraping {
		if !file[id] {
			delete(m.scraping, id)
			delete(m.next, id)
		}
	}
	m.file = file
	j.wrote(w.now)
}

// tell gossips the member's facts, if they are news, with a delay of its own
// to each.
func (w *world) tell(m *simMember) {
	f := m.core.facts()
	text := fmt.Sprint(f)
	if text == m.told {
		return
	}
	m.told = text
	for _, other := range w.members {
		if other != m {
			w.hear(other, Member{Name: m.name, State: f.State, Jobs: f.Jobs}, time.Duration(w.rng.IntN(800))*time.Millisecond)
		}
	}
}

func (w *world) hear(m *simMember, from Member, delay time.Duration) {
	queue := m.heard[from.Name]
	at := w.now.Add(delay)
	if n := len(queue); n > 0 && queue[n-1].at.After(at) {
		at = queue[n-1].at // in order
	}
	m.heard[from.Name] = append(queue, message{at, from})
}

// scrape is Prometheus: targets it finds are scraped at a phase of their own.
func (w *world) scrape(m *simMember) {
	var samples []Sample
	for _, t := range w.targets {
		if !m.file[t.id] {
			continue
		}
		at, ok := m.next[t.id]
		if !ok {
			m.next[t.id] = w.now.Add(time.Duration(w.rng.Int64N(int64(w.interval))))
			continue
		}
		if at.After(w.now) {
			continue
		}
		m.next[t.id] = at.Add(w.interval)
		m.scraping[t.id] = true
		samples = append(samples, Sample{Labels: labels.FromStrings("__name__", "up", "job", "j", "instance", t.labels.Get("instance")), Value: 1, Timestamp: w.now.UnixMilli()})
	}
	if m.alive {
		m.core.observe(samples)
	}
}

func (m *simMember) startPrometheus(now time.Time) {
	if !m.prometheus {
		m.upSince = now
		m.prometheus, m.scraping, m.next = true, map[uint64]bool{}, map[uint64]time.Time{}
	}
}

func (m *simMember) stopPrometheus(now time.Time) {
	if m.prometheus {
		m.prometheus, m.downSince = false, now
	}
}

func (w *world) kill(m *simMember, prometheus bool) {
	m.alive = false
	if prometheus {
		m.stopPrometheus(w.now)
		m.file = map[uint64]bool{}
	}
	for _, other := range w.members {
		if other != m {
			w.hear(other, Member{Name: m.name, State: Dead}, 3*time.Second+time.Duration(w.rng.IntN(500))*time.Millisecond)
		}
	}
}

// settle runs until all living members agree, and fails if they never do.
func (w *world) settle() {
	w.t.Helper()
	for range 600 {
		w.step()
		if w.settled() {
			return
		}
	}
	var text strings.Builder
	for _, m := range w.members {
		f := m.core.facts()
		fmt.Fprintf(&text, "\n%s alive=%v state=%s view=%x applied=%x targets=%d", m.name, m.alive, f.State, f.View, f.AppliedView, f.Targets)
	}
	w.t.Fatalf("not settled after a minute:%s", text.String())
}

// settled: every target is held by as many living members as there should be.
func (w *world) settled() bool {
	var view uint64
	living := 0
	for _, m := range w.members {
		f := m.core.facts()
		if !m.alive || f.State == Draining {
			continue
		}
		if f.State != Active || f.AppliedView == 0 || view != 0 && f.View != view {
			return false
		}
		view = f.View
		living++
	}
	for _, t := range w.targets {
		n := 0
		for _, m := range w.members {
			if m.alive && m.core.state == Active && m.file[t.id] {
				n++
			}
		}
		if n != min(w.replicas, living) {
			return false
		}
	}
	return true
}

func (w *world) covered() int {
	n := 0
	for _, t := range w.targets {
		if slices.ContainsFunc(w.members, func(m *simMember) bool { return m.prometheus && m.scraping[t.id] }) {
			n++
		}
	}
	return n
}

func TestNobodyLetsGoBeforeSomebodyHolds(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, 3+int(seed%4), 40, 1+int(seed/2%2))
			w.settle()
			for range 25 {
				w.disturb()
				for range w.rng.IntN(60) {
					w.step()
				}
			}
			for _, m := range w.members {
				if !m.alive || m.core.state == Draining {
					w.kill(m, true)
					w.start(m)
				}
				m.startPrometheus(w.now)
			}
			w.settle()
			if n := w.covered(); n != len(w.targets) {
				t.Errorf("%d of %d targets are scraped", n, len(w.targets))
			}
		})
	}
}

// disturb does one of the things that happen to a fleet.
func (w *world) disturb() {
	m := w.members[w.rng.IntN(len(w.members))]
	switch w.rng.IntN(7) {
	case 0: // kill -9 of a sidecar
		w.kill(m, false)
	case 1: // of a pod
		w.kill(m, true)
	case 2, 3:
		if !m.alive {
			w.start(m)
		}
	case 4: // of Prometheus, which comes back
		if m.prometheus {
			m.stopPrometheus(w.now)
		} else if m.alive {
			m.startPrometheus(w.now)
		}
	case 5: // targets come and go
		n := 30 + w.rng.IntN(30)
		targets := append(slices.Clone(w.targets[w.rng.IntN(5):]), w.makeTargets(1000+w.rng.IntN(100000)*50, 0)...)
		for len(targets) < n {
			from := 1000 + w.rng.IntN(1<<30)
			targets = append(targets, w.makeTargets(from, from+1)...)
		}
		w.discover(targets)
	case 6: // drain
		if m.alive && m.core.state == Active {
			m.core.setState(Draining, w.now)
		}
	}
}

// A change of shard_by, say, rolls out member by member: the same targets get
// other keys.
func TestRollOutOfOtherKeys(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, 3, 40, 1+int(seed%2))
			w.interval = 10 * time.Second
			w.settle()
			w.targets = slices.Clone(w.targets)
			for i := range w.targets {
				w.targets[i].key = placement.Key(fmt.Sprint("other", i))
			}
			for _, m := range w.members {
				for range w.rng.IntN(100) {
					w.step()
				}
				m.core.setJobs([]string{"j"}, []options{{digest: 2, replicas: w.replicas}}, w.now)
				m.core.setTargets(JobID("j"), w.targets, nil, w.now)
			}
			w.settle()
			if n := w.covered(); n != len(w.targets) {
				t.Errorf("%d of %d targets are scraped", n, len(w.targets))
			}
		})
	}
}

func TestTargetsWhoseLabelsChangeStayAwaited(t *testing.T) {
	w := newWorld(t, 1, 1, 3, 1)
	c := w.members[0].core
	c.setState(Active, w.now)
	changed := slices.Clone(w.targets)
	for i := range changed {
		changed[i].id++
	}
	c.setTargets(JobID("j"), changed, nil, w.now)
	if c.facts().AppliedView != 0 {
		t.Error("applied, and nothing was ever seen to be scraped")
	}
}

func TestDrainEndsWhenHeirsAreSeenToScrape(t *testing.T) {
	w := newWorld(t, 1, 3, 60, 1)
	w.settle()
	m := w.members[1]
	m.core.setState(Draining, w.now)
	total, handed, open := m.core.drained(w.now)
	if total == 0 || len(handed) != 0 || len(open) != total {
		t.Fatalf("at the start: total %d, handed %v, open %d; nothing can be handed over yet", total, handed, len(open))
	}
	for range 100 {
		w.step()
		if total, handed, open = m.core.drained(w.now); len(open) == 0 {
			break
		}
	}
	if len(open) != 0 || handed["m0"]+handed["m2"] != total || handed["m0"] == 0 || handed["m2"] == 0 {
		t.Fatalf("after 10 s: total %d, handed %v, open %d", total, handed, len(open))
	}
	if got := len(m.file); got != total {
		t.Errorf("the drainer's file has %d targets, want all %d until its Prometheus has gone", got, total)
	}
}

func TestFrozenKeepsAndAdoptsNothing(t *testing.T) {
	w := newWorld(t, 2, 3, 60, 1)
	for _, m := range w.members {
		m.core.minMembers = 3
	}
	w.settle()
	before := len(w.members[0].file)
	w.kill(w.members[1], true)
	w.kill(w.members[2], true)
	for range 100 {
		w.step()
	}
	c := w.members[0].core
	if got := len(w.members[0].file); got != before || !c.frozen() {
		t.Errorf("frozen=%v, file has %d targets, want the %d it had", c.frozen(), got, before)
	}
	if f := c.facts(); f.AppliedView != 0 {
		t.Errorf("a frozen member says that it has applied its view")
	}
	w.start(w.members[1])
	w.start(w.members[2])
	w.settle()
}

// With a hundred members that gossip now and then, this runs many times a second.
func BenchmarkSetCluster(b *testing.B) {
	c := newCore(Config{Node: "m000", MinMembers: 1})
	now := time.Unix(1_000_000, 0)
	names, next := make([]string, 200), make([]options, 200)
	for i := range names {
		names[i], next[i].replicas = fmt.Sprint("job", i), 1
	}
	c.setJobs(names, next, now)
	cluster := Cluster{Known: true}
	for i := range 100 {
		m := Member{Name: fmt.Sprintf("m%03d", i+1), State: Active, Jobs: map[uint64]JobView{}}
		for _, name := range names {
			m.Jobs[JobID(name)] = JobView{1, 1}
		}
		cluster.Members = append(cluster.Members, m)
	}
	for _, name := range names {
		c.setTargets(JobID(name), nil, nil, now)
		c.setLoaded(JobID(name), now)
	}
	c.setState(Active, now)
	b.ReportAllocs()
	for b.Loop() {
		c.setCluster(cluster, now)
	}
}
