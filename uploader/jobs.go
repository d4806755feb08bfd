package uploader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/merge"
	"github.com/ringside-project/ringside/uploader/plan"
)

// job is something that takes time, and that must not hold up anything else.
type job struct {
	what   string
	blocks []ulid.ULID // that it reads
	span   plan.Span
	pace   pace
	sent   atomic.Int64
	doing  atomic.Pointer[string] // what comes before the upload itself; nil: nothing
}

// does notes what the job is at; empty: at the upload itself.
func (j *job) does(what string) { j.doing.Store(&what) }

// alone has the job do what comes before the upload itself, without the bucket.
func (j *job) alone(what string, work func()) {
	j.does(what)
	j.pace.during(work)
}

// result is how a job ended. What it has found out, then does, even where it
// failed in the end, to the engine.
type result struct {
	job     *job
	err     error
	stopped bool // before its end, because the sidecar is stopping
	then    func()
}

// launch runs a job unless it is under way, or failed a short while ago.
func (e *engine) launch(ctx context.Context, j *job, run func(context.Context) (then func(), err error)) {
	if e.jobs[j.what] != nil || !e.may(j.what, time.Now()) {
		return
	}
	e.jobs[j.what] = j
	j.pace.total, j.pace.before = &e.steps, e.repeated[j.what]
	if t := e.troubles[j.what]; t != nil && t.attempts >= freeTries {
		j.pace.before = max(j.pace.before, t.steps)
	}
	go func() {
		then, err := run(paced(ctx, &j.pace))
		e.results <- result{job: j, err: err, stopped: err != nil && ctx.Err() != nil, then: then}
	}()
}

// take takes in a job's result.
func (e *engine) take(r result) {
	delete(e.jobs, r.job.what)
	if r.then != nil {
		r.then()
	}
	switch {
	case r.err == nil:
		delete(e.troubles, r.job.what)
		if len(r.job.blocks) == 0 {
			e.repeated[r.job.what] = max(e.repeated[r.job.what], r.job.pace.steps.Load())
		}
	case r.stopped:
	default:
		t := e.fail(r.job.what, r.err, r.job.blocks...)
		t.steps = max(t.steps, r.job.pace.steps.Load())
		if len(r.job.blocks) > 0 {
			e.count(outcomeFailed)
		}
	}
}

// start starts the jobs that are due.
func (e *engine) start(ctx context.Context, now time.Time) {
	if e.cfg.Probe && !e.probed && !e.finishing {
		e.launch(ctx, &job{what: "probe"}, e.probe)
	}
	if e.cfg.FlushOnShutdown && !e.finishing && !e.flushed && e.guard.gone(now) {
		e.launch(ctx, &job{what: "flush"}, e.flushOrphan)
	}
	if e.jobs["flush"] != nil {
		return // it may cut others of the same time
	}
	due := e.due(now)
	w := e.wants()
	fresh := e.view != nil && now.Sub(e.view.at) < viewAge
	for l := range w.labels {
		fresh = fresh && e.view.wanted[l]
	}
	first := !e.asked && (e.probed || e.finishing || !e.cfg.Probe)
	if !fresh && (len(due) > 0 || e.unread && (e.anyHeld() || first)) {
		old := cmp.Or(e.learnt, e.view)
		e.launch(ctx, &job{what: "look"}, func(ctx context.Context) (func(), error) { return e.look(ctx, old, w) })
	}
	if fresh && !e.unread {
		for _, up := range due {
			e.carry(ctx, up)
		}
	}
}

// due are the uploads that can start now, oldest first.
func (e *engine) due(now time.Time) []plan.Upload {
	carrying := 0
	for _, j := range e.jobs {
		if len(j.blocks) > 0 {
			carrying++
		}
	}
	var due []plan.Upload
	for _, up := range e.plan.Uploads {
		if carrying < blocksAtOnce && e.free(up) && e.may(key(up), now) {
			carrying++
			due = append(due, up)
		}
	}
	return due
}

// anyHeld tells whether there is a block that waits for the bucket to be read.
func (e *engine) anyHeld() bool {
	for _, v := range e.plan.Verdicts {
		if v.State == plan.Held {
			return true
		}
	}
	return false
}

// wants are the blocks of the bucket that matter.
func (e *engine) wants() wants {
	w := wants{labels: map[string]bool{}, blocks: map[ulid.ULID]bool{}}
	for id, f := range e.here.blocks {
		w.blocks[id] = true
		if s := e.plan.Verdicts[id].State; !e.asked || s != plan.Up && s != plan.Covered {
			w.labels[labelsKey(e.labelsOf(f))] = true
		}
		for _, made := range [][]ulid.ULID{f.Origins(), f.Replaces()} {
			for _, of := range made {
				w.blocks[of] = true
			}
		}
	}
	return w
}

// look brings the view of the bucket up to date.
func (e *engine) look(ctx context.Context, old *view, w wants) (func(), error) {
	next, err := look(ctx, e.bucket, old, w)
	return func() {
		e.answered(err)
		if next != nil {
			e.learnt = next
		}
		if err == nil {
			e.view, e.learnt = next, nil
			e.believe(next)
		}
	}, err
}

// believe takes the bucket's word, once, for what the list of uploaded blocks says: it may
// be of another bucket, or some may have been lost there.
func (e *engine) believe(v *view) {
	if e.asked {
		return
	}
	e.asked = true
	has := map[ulid.ULID]bool{}
	for id, r := range v.remote {
		has[id] = true
		for _, of := range r.Of {
			has[of] = true
		}
	}
	hasAll := func(ids []ulid.ULID) bool {
		return len(ids) > 0 && !slices.ContainsFunc(ids, func(id ulid.ULID) bool { return !has[id] })
	}
	for id, f := range e.here.blocks {
		if !e.done.ids[id] || has[id] || hasAll(f.Origins()) || hasAll(f.Replaces()) || f.Meta.Stats.NumSamples == 0 {
			continue
		}
		e.done.drop(id)
		level.Warn(e.logger).Log("msg", "the bucket does not have a block that thanos.shipper.json lists", "block", id, "span", e.span(f))
	}
}

// answered notes how the bucket answered.
func (e *engine) answered(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	e.reachable, e.failure = err == nil, ""
	if err != nil {
		e.failure = err.Error()
	}
}

// free tells whether an upload can start: its blocks are staged, and no job
// has anything to do with them or with their time.
func (e *engine) free(up plan.Upload) bool {
	for _, id := range up.Blocks {
		if f := e.here.blocks[id]; f == nil || !f.staged || e.busy(id) {
			return false
		}
	}
	for _, j := range e.jobs {
		if len(j.blocks) > 0 && j.span.Min < up.Span.Max && up.Span.Min < j.span.Max {
			return false
		}
	}
	return true
}

// key names an upload.
func key(up plan.Upload) string {
	var names []string
	for _, id := range up.Blocks {
		names = append(names, id.String())
	}
	verb := "upload block "
	if !up.AsIs {
		verb = fmt.Sprintf("merge for %s blocks ", up.Span)
	}
	return verb + strings.Join(names, ", ")
}

// carry starts an upload, or the merge that is to come before it.
func (e *engine) carry(ctx context.Context, up plan.Upload) {
	j := &job{what: key(up), blocks: up.Blocks, span: up.Span}
	var parts, unchecked []*block.Block
	for _, id := range up.Blocks {
		f := e.here.blocks[id]
		parts = append(parts, f.Block)
		if !e.checked[id] {
			unchecked = append(unchecked, f.Block)
		}
	}
	external := e.labelsOf(e.here.blocks[up.Blocks[0]]) // those of all of them
	e.launch(ctx, j, func(ctx context.Context) (func(), error) {
		var (
			unfit map[ulid.ULID]string
			err   error
		)
		j.alone("it is read through", func() { unfit, err = e.check(ctx, unchecked) })
		learn := func() {
			for id, reason := range unfit {
				if reason == "" {
					e.checked[id] = true
				} else {
					e.unfit[id] = reason
				}
			}
		}
		if err != nil || learnt(unfit) {
			return learn, wrap(j, err)
		}
		var then func()
		if up.AsIs {
			then, err = e.upload(ctx, j, parts[0], place{external, up.Replaces})
		} else {
			j.alone("it is merged with what overlaps it", func() { then, err = e.merge(ctx, up, parts, external) })
		}
		return func() { learn(); then() }, wrap(j, err)
	})
}

func wrap(j *job, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", j.what, err)
}

// learnt tells whether any block was found to be unfit.
func learnt(unfit map[ulid.ULID]string) bool {
	for _, reason := range unfit {
		if reason != "" {
			return true
		}
	}
	return false
}

// check reads blocks through, and says of each why it is unfit; empty: it is fit.
func (e *engine) check(ctx context.Context, blocks []*block.Block) (map[ulid.ULID]string, error) {
	found := map[ulid.ULID]string{}
	for _, b := range blocks {
		err := block.Check(ctx, b, e.cfg.AllowUnreadable)
		unfit := (*block.Unfit)(nil)
		switch {
		case errors.As(err, &unfit):
			found[b.Meta.ULID] = unfit.Reason
		case err != nil:
			return found, fmt.Errorf("read block %s: %w", b.Meta.ULID, err)
		default:
			found[b.Meta.ULID] = ""
		}
	}
	return found, nil
}

// merge makes one block of the parts, and stages it.
func (e *engine) merge(ctx context.Context, up plan.Upload, parts []*block.Block, external map[string]string) (func(), error) {
	nothing := func() {}
	start := time.Now()
	dir, copies, err := e.staging.workspace(parts)
	if err != nil {
		return nothing, err
	}
	defer e.staging.tidy(dir)
	made, err := merge.Merge{
		Dir: dir, Parts: copies, MinTime: up.Span.Min, MaxTime: up.Span.Max, Sources: up.Sources, Of: up.Of, Logger: e.opts.Slog,
	}.Do(ctx)
	if err != nil {
		return nothing, err
	}
	if made == nil {
		empty := plan.Remote{Span: up.Span, Of: up.Of, Labels: labelsKey(external)}
		return func() { e.own = append(e.own, empty) }, nil
	}
	if err := block.Check(ctx, made, e.cfg.AllowUnreadable); err != nil {
		return nothing, fmt.Errorf("read the merged block: %w", err)
	}
	if err := e.staging.adopt(made, external); err != nil {
		return nothing, err
	}
	msg := "merged blocks"
	if len(parts) == 1 {
		msg = "took a part of a block, or dropped deleted samples"
	}
	level.Info(e.logger).Log("msg", msg, "blocks", strings.TrimPrefix(key(up), "merge for "), "into", made.Meta.ULID,
		"samples", made.Meta.Stats.NumSamples, "took", time.Since(start).Round(time.Millisecond))
	return nothing, nil
}
