package uploader

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/uploader/plan"
)

const (
	pollInterval = 15 * time.Second
	viewAge      = time.Minute // how old a look at the bucket may be when an upload begins
	blocksAtOnce = 4

	// longestWait is between two attempts, about: it is half as much at least.
	longestWait         = 5 * time.Minute
	longestWaitInTheEnd = 20 * time.Second
)

// engine does the passes. All its fields belong to the goroutine in loop; jobs
// run in others, and answer with a result.
type engine struct {
	*Uploader
	staging  *staging
	here     inventory
	done     *shipped
	guard    guard
	external labels.Labels
	kept     labels.Labels // of those, what was noted
	plan     plan.Plan

	view     *view // nil: the bucket has not been read yet
	learnt   *view // what a look that failed has read; nil: nothing
	asked    bool  // for what the list says that it has
	own      []plan.Remote
	checked  map[ulid.ULID]bool   // read through, and fit
	unfit    map[ulid.ULID]string // read through, and not
	mergedIn map[ulid.ULID]bool   // uploaded within a block that was made here
	refused  map[ulid.ULID]bool   // counted as such

	jobs     map[string]*job
	results  chan result
	troubles map[string]*trouble // of jobs that failed
	repeated map[string]int64    // of jobs without blocks, which are done now and then: the steps of the longest
	probed   bool

	closed     bool // Prometheus has gone and its head is in blocks
	flushed    bool // its head was flushed since it was last seen
	finishing  bool // the agent knows that Prometheus has gone
	held       string
	unread     bool // the bucket has to be read before anything else
	warned     []string
	heldNow    string // held, as of heldSince
	heldSince  time.Time
	heldBefore string // what was logged of held
	bucketStatus
}

// bucketStatus is how the bucket answered last.
type bucketStatus struct {
	reachable bool
	failure   string
}

// trouble is what is known of a job that failed.
type trouble struct {
	blocks   []ulid.ULID // that are not up because of it
	attempts int
	next     time.Time
	steps    int64 // of the attempt that got furthest
	err      error
	wait     *backoff.ExponentialBackOff
}

func newEngine(u *Uploader, done *shipped) *engine {
	s := newStaging(u.opts.DataDir)
	return &engine{
		Uploader: u, staging: s, here: inventory{staging: s}, done: done, guard: guard{opts: &u.opts},
		checked: map[ulid.ULID]bool{}, unfit: map[ulid.ULID]string{}, mergedIn: map[ulid.ULID]bool{}, refused: map[ulid.ULID]bool{},
		jobs: map[string]*job{}, results: make(chan result), troubles: map[string]*trouble{}, repeated: map[string]int64{},
	}
}

// loop does passes until ctx ends or finished says so, and returns when all
// jobs have ended.
func (e *engine) loop(ctx context.Context, events <-chan struct{}, finished func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer e.drain()
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		e.pass(ctx)
		if finished() {
			return
		}
		timer := time.NewTimer(e.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case r := <-e.results:
			e.take(r)
		case <-events:
		case <-ticker.C:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// drain waits for the jobs.
func (e *engine) drain() {
	for len(e.jobs) > 0 {
		e.take(<-e.results)
	}
	e.publish(time.Now())
}

// untilNext is when a job that failed is to be tried again, if that is before
// the next poll.
func (e *engine) untilNext(now time.Time) time.Duration {
	next := pollInterval
	for _, t := range e.troubles {
		if d := t.next.Sub(now); d > 0 {
			next = min(next, d)
		}
	}
	return next
}

// pass looks at what there is, and starts what can be started.
func (e *engine) pass(ctx context.Context) {
	now := time.Now()
	if !e.finishing {
		e.seePrometheus(now)
	}
	if err := e.here.scan(now); err != nil {
		e.fail("scan", fmt.Errorf("read the data directory: %w", err))
		e.publish(now)
		return
	}
	delete(e.troubles, "scan")
	in := e.input(now)
	e.plan = plan.Make(in)
	if e.stage(now) {
		in = e.input(now) // the staged ones have labels
		e.plan = plan.Make(in)
	}
	e.settle()
	e.keepLabels()
	e.forget(now)
	e.start(ctx, now)
	e.publish(now)
}

// seePrometheus looks whether it is there, and undoes what was concluded from
// its absence if it is, or is about to be.
func (e *engine) seePrometheus(now time.Time) {
	if e.guard.watch(now) && e.jobs["flush"] == nil {
		e.cleanHead()
	}
	if e.guard.away.IsZero() {
		e.closed, e.flushed = false, false
	}
}

const unreadable = "the bucket cannot be read: "

// input is what the plan is made from.
func (e *engine) input(now time.Time) plan.Input {
	e.external, e.held = e.guard.hold(e.here.blocks, now)
	e.unread = e.view == nil && e.held == ""
	hold := e.held
	if e.unread {
		hold = "the bucket has not been read yet"
		if e.failure != "" {
			hold = unreadable + e.failure
		}
	}
	in := plan.Input{
		Done: e.done.ids, Now: now, Hold: hold, Closed: e.closed,
		BlockRange: e.opts.blockRange(), OutOfOrderWindow: e.opts.OutOfOrderWindow(),
	}
	for id, f := range e.here.blocks {
		in.Blocks = append(in.Blocks, e.planned(id, f))
	}
	if e.view != nil {
		in.Remote = slices.Collect(maps.Values(e.view.remote))
		for _, r := range e.own {
			if _, seen := e.view.remote[r.ID]; !seen {
				in.Remote = append(in.Remote, r)
			}
		}
	}
	return in
}

// planned is a block as the plan sees it.
func (e *engine) planned(id ulid.ULID, f *found) plan.Block {
	b := plan.Block{
		ID: id, Span: plan.Span{Min: f.Meta.MinTime, Max: f.Meta.MaxTime}, Samples: f.Meta.Stats.NumSamples,
		Origins: f.Origins(), Sources: f.Meta.Compaction.Sources, Replace: f.Replaces(), Labels: labelsKey(e.labelsOf(f)),
		Merged: f.staged && !f.inData && len(f.Origins()) > 0, Rewrite: f.deletions, Unfit: e.unfit[id], Cut: f.Cut(),
	}
	if f.seen.Before(b.Cut) {
		b.Cut = f.seen // a clock that was set back does not stop anything
	}
	switch c := &f.Meta.Compaction; {
	case c.FromOutOfOrder():
		b.Kind = plan.OutOfOrder
	case c.FromStaleSeries(), c.FromSelectedSeries():
		b.Kind = plan.Early
	}
	return b
}

// labelsOf are the labels that a block is uploaded under: those of when it was
// staged, if they were known then.
func (e *engine) labelsOf(f *found) map[string]string {
	if l := f.Meta.Thanos.Labels; len(l) > 0 {
		return l
	}
	return e.external.Map()
}

// fail notes a failure, to be tried again after a while, and which blocks wait for that.
func (e *engine) fail(what string, err error, blocks ...ulid.ULID) *trouble {
	t := e.troubles[what]
	if t == nil {
		t = &trouble{blocks: blocks, wait: backoff.NewExponentialBackOff()}
		t.wait.InitialInterval, t.wait.MaxInterval, t.wait.Multiplier = 5*time.Second, longestWait, 2
		if e.finishing {
			t.wait.MaxInterval = longestWaitInTheEnd
		}
		e.troubles[what] = t
	}
	t.attempts++
	t.err = err
	wait := t.wait.NextBackOff()
	t.next = time.Now().Add(wait)
	level.Warn(e.logger).Log("msg", "failed, to be tried again", "err", err, "attempts", t.attempts, "wait", wait.Round(time.Millisecond))
	return t
}

// may tells whether a job that failed may be tried again.
func (e *engine) may(what string, now time.Time) bool {
	t := e.troubles[what]
	return t == nil || !t.next.After(now)
}
