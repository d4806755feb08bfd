package scrape

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/ringside-project/ringside/scrape/promconfig"
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

// silent is a discovery, silent_sd_configs in a source, that never sends.
type silent struct {
	Option string `yaml:"option"`
}

func (silent) Name() string { return "silent" }

func (silent) NewDiscovererMetrics(prometheus.Registerer, discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &discovery.NoopDiscovererMetrics{}
}

func (silent) NewDiscoverer(discovery.DiscovererOptions) (discovery.Discoverer, error) {
	return &scripted{}, nil
}

// jobOf is a job with these discoveries that reads all labels but __meta_not_read.
func jobOf(name string, configs ...discovery.Config) promconfig.Job {
	return promconfig.Job{
		Config: &config.ScrapeConfig{JobName: name}, Discovery: configs,
		ReadsLabel: func(label string) bool { return label != "__meta_not_read" },
	}
}

func TestAnEmptyAnswerIsAnAnswerAndSilenceIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		slow := &scripted{name: "slow", send: make(chan []*targetgroup.Group)}
		s := newSightings()
		tracking := s.track([]promconfig.Job{jobOf("j", slow)})["j"]
		d, err := tracking[0].NewDiscoverer(discovery.DiscovererOptions{})
		if err != nil {
			t.Fatal(err)
		}
		up := make(chan []*targetgroup.Group)
		go d.Run(ctx, up)
		waits := func() string {
			synctest.Wait()
			return s.waitsFor(tracking, time.Now(), time.Now())
		}

		time.Sleep(time.Hour)
		if got := waits(); got != "slow discovery has not answered yet" {
			t.Errorf("silent for an hour: %q", got)
		}
		slow.send <- []*targetgroup.Group{nil, {Targets: []model.LabelSet{{"__address__": "a", "__meta_not_read": "x"}}}}
		if groups := <-up; groups[0] != nil || len(groups[1].Targets[0]) != 1 {
			t.Errorf("passed on %v", groups)
		}
		if got := waits(); got != "slow discovery is still sending" {
			t.Errorf("just sent: %q", got)
		}
		slow.send <- nil
		<-up
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

func TestADiscoveryThatIsNeverSilentIsCompleteInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSightings()
		tracking := s.track([]promconfig.Job{jobOf("j", discovery.StaticConfig{{Source: "x"}})})["j"]
		for start := time.Now(); time.Since(start) < completeAfter; time.Sleep(quietAfter / 2) {
			s.note(tracking[0].(tracked).id, time.Now())
			if s.waitsFor(tracking, time.Now(), time.Now()) == "" {
				t.Fatalf("complete %s after its first part", time.Since(start))
			}
		}
		s.note(tracking[0].(tracked).id, time.Now())
		if waitsFor := s.waitsFor(tracking, time.Now().Add(-time.Second), time.Now()); waitsFor != "" {
			t.Errorf("still waits: %s", waitsFor)
		}
	})
}

func TestEqualDiscoveriesStayEqual(t *testing.T) {
	s := newSightings()
	source := func(name string) discovery.Config { return discovery.StaticConfig{{Source: name}} }
	first := s.track([]promconfig.Job{jobOf("a", source("x")), jobOf("b", source("x"), source("y"))})
	if !reflect.DeepEqual(first["a"][0], first["b"][0]) || reflect.DeepEqual(first["b"][0], first["b"][1]) {
		t.Error("jobs with equal discoveries must share one")
	}
	again := s.track([]promconfig.Job{jobOf("a", source("x")), jobOf("b", source("x"), source("y"))})
	if !reflect.DeepEqual(first, again) {
		t.Error("a reload starts discoveries anew that have not changed")
	}
	changed := jobOf("a", source("x"))
	changed.Config.RelabelConfigs = []*relabel.Config{{SourceLabels: model.LabelNames{"__meta_not_read"}}}
	other := s.track([]promconfig.Job{changed, jobOf("b", source("x"), source("y"))})
	if reflect.DeepEqual(first["a"][0], other["a"][0]) || !reflect.DeepEqual(first["b"][1], other["b"][1]) {
		t.Error("with other rules, the discovery must send again what was dropped, and only that discovery")
	}
}

func TestADiscoveryThatComesBackHasNotAnswered(t *testing.T) {
	s := newSightings()
	x, y := discovery.StaticConfig{{Source: "x"}}, discovery.StaticConfig{{Source: "y"}}
	first := s.track([]promconfig.Job{jobOf("j", x)})["j"][0].(tracked)
	s.note(first.id, time.Now().Add(-time.Hour))
	s.track([]promconfig.Job{jobOf("j", y)})
	s.note(first.id, time.Now().Add(-time.Hour)) // the last word of one that was stopped
	again := s.track([]promconfig.Job{jobOf("j", x)})["j"]
	if s.waitsFor(again, time.Now(), time.Now()) == "" {
		t.Error("it was started anew, but counts as having answered")
	}
}

func TestADiscoveryThatCannotStartSaysWhy(t *testing.T) {
	s := newSightings()
	tracking := s.track([]promconfig.Job{jobOf("j", &scripted{name: "broken", err: errors.New("no such cluster")})})["j"]
	if _, err := tracking[0].NewDiscoverer(discovery.DiscovererOptions{}); err == nil {
		t.Fatal("no error")
	}
	if waitsFor := s.waitsFor(tracking, time.Now(), time.Now()); waitsFor != "broken discovery: no such cluster" {
		t.Errorf("waits for %q", waitsFor)
	}
}
