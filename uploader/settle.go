package uploader

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/plan"
)

// stage takes hold of the blocks that are needed, and tells whether there were
// any that were not staged yet.
func (e *engine) stage(now time.Time) (news bool) {
	if !e.guard.strange.IsZero() {
		return false
	}
	for id, v := range e.plan.Verdicts {
		f := e.here.blocks[id]
		what := "stage " + id.String()
		if f.staged || e.untold(f, now) || !needed(v.State) && !e.plan.Keep[id] || !e.may(what, now) {
			continue
		}
		switch err := e.staging.add(f.Block, e.external); {
		case errors.Is(err, fs.ErrNotExist): // Prometheus has just removed it
		case err != nil:
			e.fail(what, err, id)
		default:
			news = true
			delete(e.troubles, what)
			level.Info(e.logger).Log("msg", "staged block", "block", id, "span", e.span(f), "samples", f.Meta.Stats.NumSamples, "bytes", f.Bytes)
		}
	}
	if !news {
		return false
	}
	return e.here.scan(now) == nil
}

// needed tells whether a block with this verdict is still to be uploaded.
func needed(s plan.State) bool { return s == plan.Due || s == plan.Waiting || s == plan.Held }

// anyNeeded tells whether any block is still to be uploaded.
func (e *engine) anyNeeded() bool {
	for _, v := range e.plan.Verdicts {
		if needed(v.State) {
			return true
		}
	}
	return false
}

func (e *engine) span(f *found) plan.Span {
	return plan.Span{Min: f.Meta.MinTime, Max: f.Meta.MaxTime}
}

// settle notes what the bucket has, and lets go of what need not be staged.
func (e *engine) settle() {
	for id, v := range e.plan.Verdicts {
		f := e.here.blocks[id]
		switch v.State {
		case plan.Up, plan.Covered:
			if e.done.add(id) && f.inData {
				e.count(e.outcome(id, v))
				if v.LeftOut {
					level.Warn(e.logger).Log("msg", "a part of a block was left out", "block", id, "reason", v.Reason)
				}
			}
			if !e.plan.Keep[id] && (e.view != nil || !e.anyNeeded()) { // without the bucket nobody knows what to keep
				e.unstage(f)
			}
		case plan.Refused:
			if !e.refused[id] {
				e.refused[id] = true
				e.count(outcomeRefused)
				level.Error(e.logger).Log("msg", "a block is not uploaded", "block", id, "span", e.span(f), "err", v.Reason)
			}
			// Without the data directory's own, the staged one is the last there is.
			if f.inData || len(f.Origins()) > 0 && e.unfit[id] != "" {
				e.unstage(f)
			}
		}
	}
	for id, err := range e.here.broken {
		if !e.refused[id] {
			e.refused[id] = true
			e.count(outcomeRefused)
			level.Error(e.logger).Log("msg", "a block is not uploaded", "block", id, "err", err)
		}
	}
	e.done.keep(e.here.blocks)
	if err := e.done.save(); err != nil {
		e.fail("save", fmt.Errorf("write the list of uploaded blocks: %w", err))
	} else {
		delete(e.troubles, "save")
	}
}

// forget drops what is known of blocks that are not here any more, and failures
// of what is not tried any more.
func (e *engine) forget(now time.Time) {
	gone := func(id ulid.ULID) bool { return e.here.blocks[id] == nil && e.here.broken[id] == nil }
	for _, known := range []map[ulid.ULID]bool{e.refused, e.checked, e.mergedIn} {
		maps.DeleteFunc(known, func(id ulid.ULID, _ bool) bool { return gone(id) })
	}
	maps.DeleteFunc(e.unfit, func(id ulid.ULID, _ string) bool { return gone(id) })
	maps.DeleteFunc(e.troubles, func(what string, t *trouble) bool {
		return e.jobs[what] == nil && now.Sub(t.next) > forgetAfter
	})
}

// forgetAfter is much longer than it takes to come round to a job again.
const forgetAfter = 10 * time.Minute

func (e *engine) outcome(id ulid.ULID, v plan.Verdict) string {
	switch {
	case e.mergedIn[id]:
		return outcomeMerged
	case v.State == plan.Up:
		return outcomeUploaded
	}
	return outcomeCovered
}

func (e *engine) count(outcome string) { e.metrics.blocks.WithLabelValues(outcome).Inc() }

// unstage ends the staging of a block, unless a job is reading it.
func (e *engine) unstage(f *found) {
	id := f.Meta.ULID
	if !f.staged || e.busy(id) {
		return
	}
	what := "unstage " + id.String()
	if err := e.staging.remove(id); err != nil {
		e.fail(what, fmt.Errorf("end the staging of block %s: %w", id, err))
		return
	}
	delete(e.troubles, what)
}

// busy tells whether a job is reading the block.
func (e *engine) busy(id ulid.ULID) bool {
	for _, j := range e.jobs {
		if slices.Contains(j.blocks, id) {
			return true
		}
	}
	return false
}
