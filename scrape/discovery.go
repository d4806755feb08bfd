package scrape

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// sightings notes when each of the user's discoveries last sent something.
// Prometheus's discovery.Manager says "no targets" both of a discovery that
// has not answered yet and of one that found none; to us the difference is
// that between keeping a file and emptying it.
type sightings struct {
	mu      sync.Mutex
	sources map[int]discoverySource // those in use
	nextID  int                     // one that is started anew has a new one: it has not answered
	sent    map[int]sending
	failed  map[int]error
}

// sending is when a discovery first sent something and when it last did.
type sending struct{ first, last time.Time }

// discoverySource is a discovery of the user's, of one job or of several that
// have an equal one, and what the rules of all these jobs can read.
type discoverySource struct {
	config discovery.Config
	rules  uint64 // digest of the rules: other rules may read other labels
	reads  []func(label string) bool
}

func newSightings() *sightings {
	return &sightings{sources: map[int]discoverySource{}, sent: map[int]sending{}, failed: map[int]error{}}
}

// track wraps the jobs' discoveries so that their answers are noted, and that
// labels which no rule can read are dropped as they come in. The result is by
// job name.
func (s *sightings) track(jobs []promconfig.Job) map[string]discovery.Configs {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sources []discoverySource
	find := func(c discovery.Config) int {
		return slices.IndexFunc(sources, func(known discoverySource) bool { return reflect.DeepEqual(known.config, c) })
	}
	for _, j := range jobs {
		for _, c := range j.Discovery {
			i := find(c)
			if i < 0 {
				i = len(sources)
				sources = append(sources, discoverySource{config: c})
			}
			sources[i].rules = digest(sources[i].rules, rulesDigest(j.Config.RelabelConfigs))
			sources[i].reads = append(sources[i].reads, j.ReadsLabel)
		}
	}
	ids := s.use(sources)
	out := make(map[string]discovery.Configs, len(jobs))
	for _, j := range jobs {
		configs := make(discovery.Configs, len(j.Discovery))
		for i, c := range j.Discovery {
			configs[i] = tracked{Config: c, id: ids[find(c)], seen: s}
		}
		out[j.Config.JobName] = configs
	}
	return out
}

// use makes these the sources in use, and gives their ids: those that were in
// use before keep theirs.
func (s *sightings) use(sources []discoverySource) []int {
	before := s.sources
	s.sources = make(map[int]discoverySource, len(sources))
	ids := make([]int, len(sources))
	for i, source := range sources {
		ids[i] = s.nextID
		for id, known := range before {
			if known.rules == source.rules && reflect.DeepEqual(known.config, source.config) {
				ids[i] = id
			}
		}
		if ids[i] == s.nextID {
			s.nextID++
		}
		s.sources[ids[i]] = source
	}
	for id := range before {
		if _, stays := s.sources[id]; !stays {
			delete(s.sent, id)
			delete(s.failed, id)
		}
	}
	return ids
}

// strip gives the groups without the labels that no rule can read.
func (s *sightings) strip(id int, groups []*targetgroup.Group) []*targetgroup.Group {
	s.mu.Lock()
	reads := s.sources[id].reads
	s.mu.Unlock()
	keep := func(labels model.LabelSet) model.LabelSet {
		kept := make(model.LabelSet, 4)
		for name, value := range labels {
			if slices.ContainsFunc(reads, func(reads func(string) bool) bool { return reads(string(name)) }) {
				kept[name] = value
			}
		}
		return kept
	}
	out := make([]*targetgroup.Group, len(groups))
	for i, g := range groups {
		if g == nil {
			continue // some discoveries send such, and the manager expects it
		}
		out[i] = &targetgroup.Group{Source: g.Source, Labels: keep(g.Labels), Targets: make([]model.LabelSet, len(g.Targets))}
		for n, t := range g.Targets {
			out[i].Targets[n] = keep(t)
		}
	}
	return out
}

func (s *sightings) note(id int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.sources[id]; !used {
		return
	}
	sent := s.sent[id]
	if sent.first.IsZero() {
		sent.first = now
	}
	sent.last = now
	s.sent[id] = sent
}

func (s *sightings) fail(id int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[id] = err
}

// waitsFor tells what of the discoveries is still waited for, for a person; it
// is empty when what the manager handed on at received is complete. That takes
// an answer of each, and then silence for quietAfter, since some, Kubernetes'
// for one, send their first answer in many parts; but no more than
// completeAfter, since some are never silent.
func (s *sightings) waitsFor(tracking discovery.Configs, received, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range tracking {
		t := c.(tracked)
		sent, answered := s.sent[t.id]
		switch err := s.failed[t.id]; {
		case err != nil:
			return fmt.Sprintf("%s discovery: %s", t.Name(), err)
		case !answered:
			return fmt.Sprintf("%s discovery has not answered yet", t.Name())
		case now.Sub(sent.first) >= completeAfter:
		case now.Sub(sent.last) < quietAfter, sent.last.After(received):
			return fmt.Sprintf("%s discovery is still sending", t.Name())
		}
	}
	return ""
}

// tracked is a discovery whose answers are noted. The manager compares
// configurations deeply to find out which discoverers may go on; equal ones
// stay equal inside tracked.
type tracked struct {
	discovery.Config

	id   int
	seen *sightings
}

// NewDiscoverer wraps the discovery's own.
func (t tracked) NewDiscoverer(opts discovery.DiscovererOptions) (discovery.Discoverer, error) {
	d, err := t.Config.NewDiscoverer(opts)
	if err != nil {
		t.seen.fail(t.id, err)
		return nil, err
	}
	return trackedDiscoverer{d, t}, nil
}

type trackedDiscoverer struct {
	discoverer discovery.Discoverer
	tracked    tracked
}

// Run passes on what the discoverer sends until it ends or ctx does.
func (d trackedDiscoverer) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	defer close(up)
	var running sync.WaitGroup
	defer running.Wait()
	sent := make(chan []*targetgroup.Group)
	running.Go(func() { d.discoverer.Run(ctx, sent) })
	for {
		select {
		case groups, ok := <-sent:
			if !ok {
				return
			}
			select {
			case up <- d.tracked.seen.strip(d.tracked.id, groups):
				d.tracked.seen.note(d.tracked.id, time.Now())
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
