package scrape

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// scripted is a discovery that sends what the test tells it to.
type scripted struct {
	name string
	send chan []*targetgroup.Group
	err  error
}

func (s *scripted) Name() string { return s.name }

func (s *scripted) NewDiscovererMetrics(prometheus.Registerer, discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &discovery.NoopDiscovererMetrics{}
}

func (s *scripted) NewDiscoverer(discovery.DiscovererOptions) (discovery.Discoverer, error) {
	return s, s.err
}

func (s *scripted) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	for {
		select {
		case groups := <-s.send:
			select {
			case up <- groups:
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return
		}
	}
}

func TestAnEmptyAnswerIsAnAnswerAndSilenceIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		slow := &scripted{name: "slow", send: make(chan []*targetgroup.Group)}
		s := newSightings()
		tracking := s.track(discovery.Configs{slow})
		d, err := tracking[0].NewDiscoverer(discovery.DiscovererOptions{})
		if err != nil {
			t.Fatal(err)
		}
		up := make(chan []*targetgroup.Group)
		go d.Run(ctx, up)
		waits := func() string {
			synctest.Wait()
			_, waitsFor := s.answered(tracking, time.Now())
			return waitsFor
		}

		time.Sleep(time.Hour)
		if got := waits(); got != "slow discovery has not answered yet" {
			t.Errorf("silent for an hour: %q", got)
		}
		slow.send <- nil
		<-up
		if got := waits(); got != "slow discovery is still sending" {
			t.Errorf("just sent: %q", got)
		}
		time.Sleep(quietAfter)
		if got := waits(); got != "" {
			t.Errorf("sent an empty answer and is quiet: %q", got)
		}
		cancel()
		if _, open := <-up; open {
			t.Error("the channel stays open after the end")
		}
	})
}

func TestEqualDiscoveriesStayEqual(t *testing.T) {
	s := newSightings()
	id := func(source string) int {
		return s.track(discovery.Configs{discovery.StaticConfig{{Source: source}}})[0].(tracked).id
	}
	if id("a") != id("a") || id("a") == id("b") {
		t.Error("ids must follow the configurations, or every reload starts the discoveries anew")
	}
}

func TestADiscoveryThatCannotStartSaysWhy(t *testing.T) {
	s := newSightings()
	tracking := s.track(discovery.Configs{&scripted{name: "broken", err: errors.New("no such cluster")}})
	if _, err := tracking[0].NewDiscoverer(discovery.DiscovererOptions{}); err == nil {
		t.Fatal("no error")
	}
	if _, waitsFor := s.answered(tracking, time.Now()); waitsFor != "broken discovery: no such cluster" {
		t.Errorf("waits for %q", waitsFor)
	}
}
