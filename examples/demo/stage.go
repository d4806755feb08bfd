package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-project/ringside/e2e"
)

const (
	scrapeInterval = 2 * time.Second
	startTimeout   = time.Minute // of a pair
	pollInterval   = time.Second
)

// stage is all that the demo has started, and what it has seen of it.
type stage struct {
	fleet  *e2e.Fleet
	ledger e2e.Process
	watch  *watcher

	selected    int // index of a pair
	everSettled bool

	mtx      sync.Mutex
	starting map[string]*starting // by the names of pairs
	trouble  string               // what went wrong last

	starts sync.WaitGroup
	cancel context.CancelFunc // of starts under way
	ctx    context.Context
}

// starting is the start of a pair that is under way.
type starting struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// newStage starts the example service and writes the pairs' directories.
func newStage(o options) (*stage, error) {
	driver := e2e.NewProcesses()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make --dir: %w", err)
	}
	sd := filepath.Join(o.dir, "ledger.json")
	if err := os.WriteFile(sd, []byte("[]\n"), 0o644); err != nil {
		return nil, fmt.Errorf("make --dir: %w", err)
	}
	sites, err := e2e.LoopbackSites(o.pairs, driver, true)
	if err != nil {
		return nil, err
	}
	ledger, err := driver.Start(e2e.Command{
		Path: o.ledger, Dir: o.dir, Log: filepath.Join(o.dir, "ledger.log"),
		Args: []string{"--listen-address=127.0.0.1:0", "--instances=" + strconv.Itoa(o.instances), "--sd-file=" + sd},
	})
	if err != nil {
		return nil, err
	}
	fleet, err := e2e.NewFleet(e2e.FleetConfig{
		Dir: o.dir, Ringside: o.ringside, Prometheus: o.prometheus,
		Cluster: "demo-" + strconv.Itoa(os.Getpid()), Sites: sites, Source: source(sd, o.rules),
	})
	if err != nil {
		return nil, err
	}
	s := stageOf(fleet, o.instances)
	s.ledger = ledger
	go func() {
		s.fail(fmt.Errorf("the example service ended: %w, see %s", ledger.Wait(), filepath.Join(o.dir, "ledger.log")))
	}()
	return s, nil
}

// stageOf is the stage of a fleet that has not been started.
func stageOf(fleet *e2e.Fleet, instances int) *stage {
	s := &stage{fleet: fleet, watch: newWatcher(fleet, instances), starting: map[string]*starting{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// source is the prometheus.yml that a person would write: it says nothing of
// Ringside.
func source(sdFile, rules string) string {
	text := fmt.Sprintf(`global:
  scrape_interval: %s
scrape_configs:
  - job_name: ledger
    file_sd_configs:
      - files: [%s]
`, scrapeInterval, sdFile)
	if rules != "" {
		text += fmt.Sprintf("rule_files: [%s]\n", rules)
	}
	return text
}

// close kills all that runs and returns when it has gone.
func (s *stage) close() {
	s.cancel()
	s.starts.Wait()
	s.fleet.Close()
	if s.ledger.Signal(syscall.SIGKILL) == nil {
		s.ledger.Wait()
	}
}

// show starts the pairs and draws what becomes of them until ctx ends or
// somebody quits.
func (s *stage) show(ctx context.Context, sc screen) error {
	defer sc.close()
	for _, p := range s.fleet.Pairs {
		s.start(p)
	}
	ctx, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch.run(ctx)
	}()
	defer func() { stop(); <-watched }()

	sc.draw(s.view(sighting{at: time.Now()}))
	last := sighting{at: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case last = <-s.watch.sightings:
			s.everSettled = s.everSettled || last.settled
		case key, open := <-sc.keys():
			if !open || key == 'q' || key == ctrlC {
				return nil
			}
			s.press(key)
		}
		sc.draw(s.view(last))
	}
}

const ctrlC = 3

// press does what a key is for.
func (s *stage) press(key byte) {
	pair := s.fleet.Pairs[s.selected]
	switch {
	case key >= '1' && int(key-'1') < len(s.fleet.Pairs):
		s.selected = int(key - '1')
	case key == 'k':
		s.kill(pair)
	case key == 's':
		s.start(pair)
	}
}

// start starts a pair, unless that is under way, and returns at once.
func (s *stage) start(p *e2e.Pair) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.starting[p.Name] != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, startTimeout)
	now := &starting{cancel: cancel, done: make(chan struct{})}
	s.starting[p.Name], s.trouble = now, ""
	s.starts.Go(func() {
		defer close(now.done)
		defer cancel()
		err := p.Start(ctx)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // nobody called it off
			s.fail(err)
		}
		s.mtx.Lock()
		defer s.mtx.Unlock()
		delete(s.starting, p.Name)
	})
}

// kill kills a pair, also while it is being started: that ends first, so that it
// starts nothing more.
func (s *stage) kill(p *e2e.Pair) {
	s.mtx.Lock()
	now := s.starting[p.Name]
	s.mtx.Unlock()
	if now != nil {
		now.cancel()
		<-now.done
	}
	p.Kill()
}

// outcome ends the starts that are under way and returns what went wrong, or that
// the pairs never settled in the time that they were given.
func (s *stage) outcome(runFor time.Duration) error {
	s.cancel()
	s.starts.Wait()
	s.mtx.Lock()
	defer s.mtx.Unlock()
	switch {
	case s.trouble != "":
		return errors.New(s.trouble)
	case runFor > 0 && !s.everSettled:
		return fmt.Errorf("the pairs did not settle within %s", runFor)
	}
	return nil
}

// fail shows err, unless this is the end anyway.
func (s *stage) fail(err error) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.ctx.Err() == nil {
		s.trouble = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
}

// view puts together what was seen of the cluster and what is known here of the
// processes.
func (s *stage) view(seen sighting) view {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	v := view{sighting: seen, selected: s.selected, trouble: s.trouble, instances: s.watch.instances}
	for _, p := range s.fleet.Pairs {
		row := pairView{name: p.Name, statusURL: p.Sidecar.URL, prometheusURL: p.Prometheus.URL}
		member := seen.members[p.Name]
		row.state, row.targets, row.series = member.State, seen.owned[p.Name], member.Series
		switch {
		case s.starting[p.Name] != nil:
			row.state = "starting"
		case !p.Sidecar.Running() && !p.Prometheus.Running():
			row.killed = true
		case !p.Sidecar.Running() || !p.Prometheus.Running():
			row.state = "crashed"
		}
		if row.state == "" {
			row.state = "unknown"
		}
		v.pairs = append(v.pairs, row)
	}
	return v
}
