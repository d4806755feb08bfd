package main

import (
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-project/ringside/e2e"
)

// silent is a driver of programs that run until they are killed, and answer nobody.
type silent struct{}

func (silent) Start(e2e.Command) (e2e.Process, error) {
	return &silentProcess{ended: make(chan struct{})}, nil
}

type silentProcess struct {
	once  sync.Once
	ended chan struct{}
}

func (p *silentProcess) Wait() error { <-p.ended; return nil }

func (p *silentProcess) Signal(syscall.Signal) error {
	p.once.Do(func() { close(p.ended) })
	return nil
}

type noAnswer struct{}

func (noAnswer) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no answer")
}

// silentStage has one pair, whose start takes until its time is up.
func silentStage(t *testing.T) *stage {
	t.Helper()
	fleet, err := e2e.NewFleet(e2e.FleetConfig{
		Dir: t.TempDir(), Cluster: "demo", Client: &http.Client{Transport: noAnswer{}},
		Sites: []e2e.Site{{Driver: silent{}, Prometheus: "127.0.0.1:9090", Ringside: "127.0.0.1:9590"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	return stageOf(fleet, 1)
}

func (s *stage) firstRow() pairView { return s.view(sighting{}).pairs[0] }

// Somebody who kills a pair before it is up has no trouble to be told of.
func TestKillDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := silentStage(t)
		s.press('s')
		synctest.Wait()
		if row := s.firstRow(); row.state != "starting" || !s.fleet.Pairs[0].Sidecar.Running() {
			t.Errorf("after s the pair is %q", row.state)
		}
		s.press('k')
		if row := s.firstRow(); !row.killed {
			t.Errorf("after k the pair is %q", row.state)
		}
		time.Sleep(2 * startTimeout)
		if row := s.firstRow(); !row.killed {
			t.Errorf("long after k the pair is %q", row.state)
		}
		if err := s.outcome(0); err != nil {
			t.Error(err)
		}
	})
}

func TestQuitDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := silentStage(t)
		s.press('s')
		synctest.Wait()
		if err := s.outcome(0); err != nil {
			t.Error(err)
		}
	})
}

func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := silentStage(t)
		s.press('s')
		time.Sleep(2 * startTimeout)
		if s.outcome(0) == nil {
			t.Error("a pair that was not up in time is no trouble")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if silentStage(t).outcome(time.Second) == nil {
			t.Error("pairs that did not settle in time are no trouble")
		}
	})
}
