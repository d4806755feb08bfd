package scrape

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
)

// seriesOf is a series that Prometheus scraped from t and sends, without the
// replica label.
func seriesOf(t target, more ...string) labels.Labels {
	lb := labels.NewBuilder(labels.FromStrings(append([]string{"__name__", "requests_total", "code", "200", "zone", "b"}, more...)...))
	t.labels.Range(func(l labels.Label) {
		if isPublic(l.Name, nil) {
			lb.Set(l.Name, l.Value)
		}
	})
	return lb.Labels()
}

// handedOver is HandedOver for a member of a world.
func (m *simMember) handedOver(series labels.Labels) bool {
	jobs := []jobSnapshot{{job: *m.core.jobs[JobID("j")]}}
	return newElsewhere(jobs, m.core.gone, m.core.external).has(series)
}

// ending is the end of a target's series, as one Prometheus will write it.
type ending struct {
	target target
	at     time.Time // when the stale markers come to the relay
	moved  bool      // the target was still discovered
	runs   int       // the sidecar's start during which it was let go of
}

// end has the series ended of what was scraped and is not in the file any more:
// Prometheus does it up to 3.1 intervals later, and remote write may be slow.
func (m *simMember) end(w *world, file map[uint64]bool) {
	for _, id := range slices.Sorted(maps.Keys(m.scraping)) { // sorted, so that a seed is a run
		t, watched := w.everything[id]
		if !watched || file[id] {
			continue
		}
		late := w.interval*21/10 + time.Duration(w.rng.Int64N(int64(w.interval)))
		if w.rng.IntN(3) == 0 {
			late += time.Duration(w.rng.Int64N(int64(2 * time.Minute)))
		}
		moved := slices.ContainsFunc(w.targets, func(d target) bool { return d.id == t.id })
		m.endings = append(m.endings, ending{t, w.now.Add(late), moved, m.starts})
	}
}

// relay is what comes to the member's relay now.
func (w *world) relay(m *simMember) {
	m.endings = slices.DeleteFunc(m.endings, func(e ending) bool {
		if m.upSince.After(e.at) || m.file[e.target.id] {
			return true // Prometheus was restarted, or it scrapes the target again
		}
		if !m.prometheus || !m.alive || e.at.After(w.now) {
			return false
		}
		discovered := slices.ContainsFunc(w.targets, func(t target) bool { return t.id == e.target.id })
		if e.moved && !discovered && e.runs != m.starts {
			return true // not known any more after a restart
		}
		if got := m.handedOver(seriesOf(e.target)); got != e.moved {
			w.t.Fatalf("%s: the end of %s, which was %v: handed over %v", m.name, e.target.address,
				map[bool]string{true: "scraped on by others", false: "gone from discovery"}[e.moved], got)
		}
		w.ended[e.moved]++
		return true
	})
	for i, h := range m.core.jobs[JobID("j")].holds {
		if t := m.core.jobs[JobID("j")].targets[i]; h.held && w.rng.IntN(500) == 0 && m.handedOver(seriesOf(t)) {
			w.t.Fatalf("%s: a series vanished from %s, which it scrapes: taken for handed over", m.name, t.address)
		}
	}
}

// TestEndsOfSeries runs fleets through all that happens to one, and looks at
// the stale markers of every series that a Prometheus ends.
func TestEndsOfSeries(t *testing.T) {
	var ended [2]int
	for seed := range uint64(20) {
		w := newWorld(t, seed, 3+int(seed%3), 40, 1+int(seed/2%2))
		w.watch()
		w.settle()
		for range 40 {
			w.disturb()
			for range w.rng.IntN(80) {
				w.step()
			}
		}
		ended[0] += w.ended[false]
		ended[1] += w.ended[true]
	}
	if ended[0] < 100 || ended[1] < 100 {
		t.Errorf("only %d ends of targets that left discovery and %d of those that moved were seen", ended[0], ended[1])
	}
}

// TestEndsInARollingRestart restarts one sidecar after the other, their
// Prometheus servers going on, and each before the ends of the last hand-over
// have come.
func TestEndsInARollingRestart(t *testing.T) {
	w := newWorld(t, 7, 3, 60, 1)
	w.interval = 15 * time.Second
	w.settle()
	w.watch()
	for _, m := range w.members {
		m.core.setState(Draining, w.now)
		w.until(func() bool { _, _, open := m.core.drained(w.now); return len(open) == 0 })
		w.kill(m, false)
		for range 20 {
			w.step()
		}
		w.start(m)
		w.settle()
	}
	w.until(func() bool {
		return !slices.ContainsFunc(w.members, func(m *simMember) bool { return len(m.endings) > 0 })
	})
	if w.ended[true] < len(w.targets)/2 || w.ended[false] > 0 {
		t.Errorf("%d ends of targets that moved, %d of others; want one of nearly every target, and no others", w.ended[true], w.ended[false])
	}
}

// TestEndsInADrain wants the drainer, which scrapes on, to pass on the ends of
// series, and the heirs not to end what moves back.
func TestEndsInADrain(t *testing.T) {
	w := newWorld(t, 3, 2, 40, 1)
	w.settle()
	w.watch()
	m, heir := w.members[0], w.members[1]
	mine := maps.Clone(m.file)
	m.core.setState(Draining, w.now)
	w.until(func() bool { _, _, open := m.core.drained(w.now); return len(open) == 0 })
	for _, target := range w.targets {
		if m.handedOver(seriesOf(target)) == mine[target.id] {
			t.Errorf("%s, drained: %v is scraped by the drainer: %v", target.address, target.id, mine[target.id])
		}
	}
	w.kill(m, true)
	for range 100 {
		w.step()
	}
	if heir.handedOver(seriesOf(w.targets[0])) {
		t.Error("the heir has all targets, but takes one for handed over")
	}
	w.start(m)
	w.settle()
	w.until(func() bool { return len(heir.endings) == 0 })
	if w.ended[true] < len(mine) || w.ended[false] != 0 {
		t.Errorf("%d targets moved back; %d ends of such, and %d others", len(mine), w.ended[true], w.ended[false])
	}
}

// until runs the world until done.
func (w *world) until(done func() bool) {
	w.t.Helper()
	for range 3000 {
		if done() {
			return
		}
		w.step()
	}
	w.t.Fatal("not done after 5 minutes")
}

func TestHandedOverAfterwards(t *testing.T) {
	for name, tc := range map[string]struct {
		happens func(w *world, m, heir *simMember, moved target)
		want    bool
	}{
		"the heir died and another adopts": {func(w *world, m, heir *simMember, moved target) {
			w.kill(heir, true)
			w.until(func() bool { return !m.core.peers[heir.name].State.Alive() })
		}, true},
		"it left discovery": {func(w *world, m, _ *simMember, moved target) {
			w.discover(slices.DeleteFunc(slices.Clone(w.targets), func(t target) bool { return t.id == moved.id }))
		}, true},
		"it left discovery long ago": {func(w *world, m, _ *simMember, moved target) {
			w.discover(slices.DeleteFunc(slices.Clone(w.targets), func(t target) bool { return t.id == moved.id }))
			w.now = w.now.Add(departedFor)
			m.core.changed()
			m.core.tick(w.now)
		}, false},
		"all others died, and it came back": {func(w *world, m, heir *simMember, moved target) {
			for _, other := range w.members {
				if other != m {
					w.kill(other, true)
				}
			}
			w.until(func() bool { return m.file[moved.id] })
		}, false},
		"it came back, and left discovery": {func(w *world, m, heir *simMember, moved target) {
			for _, other := range w.members {
				if other != m {
					w.kill(other, true)
				}
			}
			w.until(func() bool { return m.file[moved.id] })
			w.discover(slices.DeleteFunc(slices.Clone(w.targets), func(t target) bool { return t.id == moved.id }))
		}, false},
		"the sidecar restarted": {func(w *world, m, _ *simMember, _ target) {
			w.kill(m, false)
			w.start(m)
		}, true},
		"other external labels": {func(w *world, m, _ *simMember, moved target) {
			m.core.setExternal(map[string]bool{"zone": true})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 11, 2, 40, 1)
			w.settle()
			m, heir, next := w.members[0], &simMember{name: "heir"}, &simMember{name: "next"}
			before := maps.Clone(m.file)
			w.members = append(w.members, heir, next)
			w.start(heir)
			w.start(next)
			w.settle()
			members := m.core.jobs[JobID("j")].members
			moved := w.targets[slices.IndexFunc(w.targets, func(t target) bool {
				order := members.Order(t.key)
				return before[t.id] && members.At(order[0]).Name == "heir" && members.At(order[1]).Name == "next"
			})]
			if !m.handedOver(seriesOf(moved)) {
				t.Fatal("just released, but not handed over")
			}
			tc.happens(w, m, heir, moved)
			if got := m.handedOver(seriesOf(moved)); got != tc.want {
				t.Errorf("handed over: %v, want %v", got, tc.want)
			}
		})
	}
}

// elsewhereOf is the index of these targets, of which those in held are held.
func elsewhereOf(external map[string]bool, targets []labels.Labels, held ...int) *elsewhere {
	j := job{holds: make([]hold, len(targets))}
	for _, ls := range targets {
		j.targets = append(j.targets, target{labels: ls, public: publicHash(ls, external)})
	}
	for _, i := range held {
		j.holds[i].held = true
	}
	return newElsewhere([]jobSnapshot{{job: j}}, nil, external)
}

func TestWhoseSeries(t *testing.T) {
	node := labels.FromStrings("__address__", "a:9100", "__scheme__", "http", "job", "node", "instance", "a:9100", "env", "prod")
	for name, tc := range map[string]struct {
		series []string
		want   bool
	}{
		"its own":            {[]string{"__name__", "up", "job", "node", "instance", "a:9100", "env", "prod"}, true},
		"with more labels":   {[]string{"__name__", "x", "a", "b", "job", "node", "instance", "a:9100", "env", "prod", "le", "1", "zz", ""}, true},
		"external labels":    {[]string{"__name__", "x", "cluster", "eu", "job", "node", "instance", "a:9100", "env", "prod"}, true},
		"of a recorded rule": {[]string{"__name__", "instance:cpu:rate5m", "job", "node", "instance", "a:9100", "env", "prod"}, true},
		"another instance":   {[]string{"__name__", "up", "job", "node", "instance", "b:9100", "env", "prod"}, false},
		"another job":        {[]string{"__name__", "up", "job", "nodes", "instance", "a:9100", "env", "prod"}, false},
		"relabelled":         {[]string{"__name__", "up", "job", "node", "instance", "a:9100", "env", "test"}, false},
		"a label dropped":    {[]string{"__name__", "up", "job", "node", "instance", "a:9100"}, false},
		"no instance":        {[]string{"__name__", "up", "job", "node", "env", "prod"}, false},
		"of a rule by job":   {[]string{"__name__", "job:cpu:rate5m", "job", "node"}, false},
		"no labels":          {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			series := labels.FromStrings(tc.series...)
			if got := elsewhereOf(map[string]bool{"cluster": true}, []labels.Labels{node}).has(series); got != tc.want {
				t.Errorf("%s: %v, want %v", series, got, tc.want)
			}
			if elsewhereOf(nil, []labels.Labels{node}, 0).has(series) {
				t.Errorf("%s: taken for another's, but the target is held", series)
			}
		})
	}
}

func TestWhoseSeriesAmongMany(t *testing.T) {
	var targets []labels.Labels
	for i := range 300 { // all with one instance, with labels of three kinds
		targets = append(targets, labels.FromStrings("job", "j", "instance", "same", "pod", fmt.Sprint(i), fmt.Sprint("kind", i%3), "x"))
	}
	targets = append(targets, targets[7]) // the same by all public labels, say on another path
	targets = append(targets, labels.FromStrings("cluster", "eu", "__address__", "a"))
	e := elsewhereOf(map[string]bool{"cluster": true}, targets, 300)
	for i, ls := range targets {
		if want := i != 7 && i < 300; e.has(seriesOf(target{labels: ls})) != want {
			t.Errorf("%s: want %v", ls, want)
		}
	}
	if e.has(labels.FromStrings("job", "j", "instance", "same", "pod", "1", "kind2", "x")) {
		t.Error("a series with the labels of two targets is neither's")
	}
}

// TestHandedOverOfARunningSidecar asks a whole Scrape, many at once, while a
// peer comes and takes its share.
func TestHandedOverOfARunningSidecar(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		series := map[string]labels.Labels{}
		for i, job := range []string{"a", "a", "b"} {
			instance := fmt.Sprintf("10.0.0.%d:80", i+1)
			series[instance] = labels.FromStrings("__name__", "x", "job", job, "instance", instance)
		}
		if r.HandedOver(series["10.0.0.1:80"]) {
			t.Error("nothing is known yet")
		}
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		peer := Member{Name: "m1", State: Active, Jobs: map[uint64]JobView{JobID("a"): {}, JobID("b"): {}}}
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				for range 100 {
					for _, ls := range series {
						r.HandedOver(ls)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		for id, v := range r.Status().Facts.Jobs {
			peer.Jobs[id] = JobView{v.View, v.View}
		}
		peer.Jobs = maps.Clone(peer.Jobs)
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		page, _ := r.Status().Targets(Filter{Page: 1, Limit: 10})
		moved := 0
		for _, target := range page {
			if got := r.HandedOver(series[target.Labels.Get(model.InstanceLabel)]); got == target.Local {
				t.Errorf("%s: local %v, handed over %v", target.ScrapeURL, target.Local, got)
			} else if got {
				moved++
			}
		}
		if len(page) != 3 || moved == 0 {
			t.Errorf("%d of %d targets moved", moved, len(page))
		}
		asking.Wait()
	})
}

// BenchmarkHandedOver asks for series of a member that released all of its
// targets, and makes the index for it.
func BenchmarkHandedOver(b *testing.B) {
	var targets []labels.Labels
	for i := range 100_000 {
		targets = append(targets, labels.FromStrings("__address__", "a", "__metrics_path__", "/metrics", "container", "c", "instance", fmt.Sprint("10.0.0.", i),
			"job", fmt.Sprint("job", i%50), "namespace", "n", "pod", fmt.Sprint("pod", i), fmt.Sprint("label", i%100), "x"))
	}
	j := job{holds: make([]hold, len(targets)), targets: make([]target, len(targets))}
	for i, ls := range targets {
		j.targets[i] = target{labels: ls, public: publicHash(ls, nil), group: &targetgroup.Group{}}
	}
	jobs := []jobSnapshot{{job: j}}
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newElsewhere(jobs, nil, nil)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(targets)), "ns/target")
	})
	b.Run("series", func(b *testing.B) {
		e := newElsewhere(jobs, nil, nil)
		series := make([]labels.Labels, 1000)
		for i := range series {
			series[i] = seriesOf(j.targets[i*97], "le", "1")
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i++; !e.has(series[i%len(series)]) {
				b.Fatal("not found")
			}
		}
	})
}
