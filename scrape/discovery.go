package scrape

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// sightings notes when each of the user's discoveries last sent something.
// Prometheus's discovery.Manager says "no targets" both of a discovery that
// has not answered yet and of one that found none; to us the difference is
// that between keeping a file and emptying it.
type sightings struct {
	mu      sync.Mutex
	configs []discovery.Config // by id; equal configurations share one discoverer
	last    map[int]time.Time
	failed  map[int]error
}

func newSightings() *sightings {
	return &sightings{last: map[int]time.Time{}, failed: map[int]error{}}
}

// track wraps the job's discoveries so that their answers are noted.
func (s *sightings) track(configs discovery.Configs) discovery.Configs {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(discovery.Configs, len(configs))
	for i, c := range configs {
		out[i] = tracked{Config: c, id: s.idOf(c), seen: s}
	}
	return out
}

func (s *sightings) idOf(c discovery.Config) int {
	for id, known := range s.configs {
		if reflect.DeepEqual(known, c) {
			return id
		}
	}
	s.configs = append(s.configs, c)
	return len(s.configs) - 1
}

func (s *sightings) note(id int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[id] = now
	delete(s.failed, id)
}

func (s *sightings) fail(id int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[id] = err
}

// answered tells what of the discoveries is still waited for, for a person: an
// answer of each, and then silence for quietAfter, since some, Kubernetes' for
// one, send their first answer in many parts. last is when the latest sent.
func (s *sightings) answered(tracking discovery.Configs, now time.Time) (last time.Time, waitsFor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range tracking {
		t := c.(tracked)
		at, sent := s.last[t.id]
		switch err := s.failed[t.id]; {
		case err != nil:
			return last, fmt.Sprintf("%s discovery: %s", t.Name(), err)
		case !sent:
			return last, fmt.Sprintf("%s discovery has not answered yet", t.Name())
		case now.Sub(at) < quietAfter:
			return last, fmt.Sprintf("%s discovery is still sending", t.Name())
		}
		if at.After(last) {
			last = at
		}
	}
	return last, ""
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
			case up <- groups:
				d.tracked.seen.note(d.tracked.id, time.Now())
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
