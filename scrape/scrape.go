package scrape

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
)

// Scrape keeps the Prometheus beside it supplied with this member's share of
// all targets.
type Scrape struct {
	cfg       Config
	logger    log.Logger
	metrics   *metrics
	server    *server
	sdMetrics *discovery.SDMetrics
	sdReg     prometheus.Registerer

	clusters chan Cluster // one slot each, newest wins
	facts    chan Facts
	status   atomic.Pointer[Status]
	source   *sourceWatcher
	drains   chan drainAsk
	begun    chan struct{}

	mu       sync.Mutex
	observed []Sample // not yet taken in
	notice   chan struct{}
}

// maxObserved is how many samples may wait to be taken in. More are dropped:
// a later scrape tells the same.
const maxObserved = 1 << 20

// New validates cfg and prepares all that can go wrong early; it starts
// nothing and writes nothing.
func New(cfg Config, logger log.Logger, reg prometheus.Registerer) (*Scrape, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	server, err := newServer(cfg.Prometheus, cfg.FeedbackURL)
	if err != nil {
		return nil, err
	}
	sdReg := prometheus.WrapRegistererWithPrefix("ringside_", reg)
	sdMetrics, err := discovery.CreateAndRegisterSDMetrics(sdReg)
	if err != nil {
		return nil, fmt.Errorf("service discovery metrics: %w", err)
	}
	s := &Scrape{
		cfg: cfg, logger: logger, metrics: newMetrics(reg), server: server,
		sdMetrics: sdMetrics, sdReg: sdReg,
		clusters: make(chan Cluster, 1), facts: make(chan Facts, 1),
		source: newSourceWatcher(cfg, logger),
		drains: make(chan drainAsk),
		notice: make(chan struct{}, 1),
		begun:  make(chan struct{}),
	}
	s.status.Store(&Status{Facts: Facts{State: Joining}, NotReady: []string{"starting"}})
	return s, nil
}

// SetCluster tells what the gossip knows. It never blocks; the newest counts.
func (s *Scrape) SetCluster(c Cluster) { offer(s.clusters, c) }

// Facts gives what this member has to say of itself whenever it changes. Only
// the newest waits to be read.
func (s *Scrape) Facts() <-chan Facts { return s.facts }

// Begun is closed once the source has been read for the first time and, if it
// is good, what Prometheus starts with has been written.
func (s *Scrape) Begun() <-chan struct{} { return s.begun }

// Status is the newest snapshot.
func (s *Scrape) Status() *Status { return s.status.Load() }

// HandedOver tells whether the series, with the labels that Prometheus sends
// but for the replica label, is of a target that others scrape and this member
// does not (any more): one that it released, or one that is discovered and not
// in its files. Its stale markers are then wrong, whatever becomes of the heirs:
// they end the series at a time when another was seen to go on with it.
//
// It is false for a target that left discovery while this member scraped it,
// for one in its files, and where honor_labels or metric relabelling gave the
// series other values than the target's labels have. Many may ask at once.
func (s *Scrape) HandedOver(series labels.Labels) bool {
	view := s.Status().view
	return view != nil && view.elsewhere().has(series)
}

// Observe tells what Prometheus was seen to scrape. It does not keep the slice
// and does not wait for the samples to be taken in.
func (s *Scrape) Observe(samples []Sample) {
	s.mu.Lock()
	if len(s.observed)+len(samples) <= maxObserved {
		s.observed = append(s.observed, samples...)
	}
	s.mu.Unlock()
	select {
	case s.notice <- struct{}{}:
	default:
	}
}

func (s *Scrape) takeObserved() []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := s.observed
	s.observed = nil
	return samples
}

// Reload reads the source now, with these sharding options. If it is bad the
// error says why, and the last good one stays, options included.
func (s *Scrape) Reload(ctx context.Context, sharding Sharding) error {
	ask := reloadAsk{sharding: sharding, answer: make(chan error, 1)}
	select {
	case s.source.asked <- ask:
	case <-ctx.Done():
		return fmt.Errorf("reload %s: %w", s.cfg.Prometheus.ConfigFile, ctx.Err())
	}
	return <-ask.answer
}

// drainAsk asks for all targets to be handed over.
type drainAsk struct {
	ctx    context.Context
	answer chan drainAnswer
}

type drainAnswer struct {
	report DrainReport
	err    error
}

// ErrUnconfirmed is Drain's error when its time is up before all targets were
// seen to be scraped by others.
var ErrUnconfirmed = errors.New("not all targets were seen to be scraped by their new owners in time")

// Drain hands all of this member's targets over: from now on it is draining,
// for good. It returns when others have been seen to scrape them all, when
// nobody is there to take them, when Prometheus has gone, or, with
// ErrUnconfirmed, when ctx ends. The target files stay as they are.
func (s *Scrape) Drain(ctx context.Context) (DrainReport, error) {
	ask := drainAsk{ctx: ctx, answer: make(chan drainAnswer, 1)}
	select {
	case s.drains <- ask:
	case <-ctx.Done():
		return DrainReport{}, ErrUnconfirmed
	}
	answer := <-ask.answer
	return answer.report, answer.err
}

// LongestInterval is the longest scrape interval of all jobs: no target's
// new owner can be seen to scrape it sooner for sure.
func (s *Scrape) LongestInterval() time.Duration {
	var longest time.Duration
	if v := s.Status().view; v != nil {
		for i := range v.jobs {
			longest = max(longest, time.Duration(v.jobs[i].resolver.job.Config.ScrapeInterval))
		}
	}
	return longest
}

// Stopping tells whether the Prometheus beside this sidecar says that it is.
func (s *Scrape) Stopping(ctx context.Context) bool { return s.server.stopping(ctx) }

// FlushTime is how long that Prometheus may take, once it is stopping, to send
// what is left to its remote writes: it stops them one after the other, and
// each has --storage.remote.flush-deadline, as it was while Prometheus ran.
func (s *Scrape) FlushTime() time.Duration {
	deadline, queues := time.Duration(s.server.flush.Load()), 1
	if deadline == 0 {
		deadline = defaultFlush
	}
	if v := s.Status().view; v != nil {
		queues = max(queues, v.remoteWrites)
	}
	return time.Duration(queues) * deadline
}

// Run does the work until ctx ends, and returns when all it started has ended.
// Files stay as they are.
func (s *Scrape) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	manager := discovery.NewManager(ctx, Slog(log.With(s.logger, "component", "discovery")), s.sdReg, s.sdMetrics,
		discovery.Name("ringside"), discovery.Updatert(time.Second))
	if manager == nil {
		return errors.New("start service discovery: its metrics are registered twice")
	}
	wanted := make(chan generation, 1)
	watch := supervisor{server: s.server, logger: s.logger, wanted: wanted, out: make(chan health, 1)}

	running.Go(func() { s.source.run(ctx) })
	running.Go(func() { watch.run(ctx) })
	running.Go(func() {
		if err := manager.Run(); ctx.Err() == nil {
			level.Error(s.logger).Log("msg", "service discovery ended", "err", err)
		}
	})
	e := newEngine(s, manager, wanted)
	e.loop(ctx, watch.out)
	return nil
}
