package uploader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"github.com/ringside-project/ringside/uploader/head"
	"github.com/ringside-project/ringside/uploader/plan"
)

// The states of a flush.
const (
	flushIdle    = "idle"
	flushRunning = "running"
	flushDone    = "done"
	flushFailed  = "failed"
)

// Finish is for when Prometheus has gone and Run has returned: it flushes the
// head, uploads what is left, and returns nil once nothing is, or what was left
// behind when ctx ended. It can be called once, and then others may have the data
// directory. Without flush_on_shutdown the head is left where it is,
// and so are blocks that have to wait for it.
func (u *Uploader) Finish(ctx context.Context) error {
	if u.bucket == nil {
		return nil
	}
	e := u.engine
	defer u.release()
	e.finishing = true
	e.guard.ready, e.guard.away = time.Time{}, time.Time{}
	if e.guard.believed() {
		return e.guard.anothers()
	}
	clear(e.troubles) // everything is tried at once
	var failed error
	if u.cfg.FlushOnShutdown {
		failed = u.flushHead(ctx)
		e.closed = failed == nil
	}
	e.loop(ctx, nil, e.finished)
	return errors.Join(failed, e.leftBehind(ctx))
}

// finished tells whether nothing is left that could be done.
func (e *engine) finished() bool {
	if len(e.jobs) > 0 || e.doubtful() {
		return false
	}
	for _, v := range e.plan.Verdicts {
		if v.State == plan.Due || v.State == plan.Held && e.held == "" {
			return false
		}
	}
	return true
}

// doubtful tells whether there are blocks of which only a list says that the bucket has them.
func (e *engine) doubtful() bool { return !e.asked && e.held == "" && len(e.here.blocks) > 0 }

// leftBehind names the blocks that are not in the bucket.
func (e *engine) leftBehind(ctx context.Context) error {
	if t := e.troubles["scan"]; t != nil {
		return t.err
	}
	var left []string
	for id, v := range e.plan.Verdicts {
		switch v.State {
		case plan.Up, plan.Covered, plan.Parts:
			if !v.LeftOut {
				continue
			}
		case plan.Waiting, plan.Within:
			if !e.closed {
				continue
			}
		}
		reason := v.Reason
		if t := e.troubleOf(id); t != nil {
			reason = t.err.Error()
		} else if t := e.troubles["look"]; t != nil && reason == "" {
			reason = unreadable + t.err.Error()
		}
		if reason == "" && ctx.Err() != nil {
			reason = "there was no time left"
		}
		left = append(left, fmt.Sprintf("block %s: %s", id, reason))
	}
	for id, err := range e.here.broken {
		left = append(left, fmt.Sprintf("block %s: %v", id, err))
	}
	if len(left) == 0 && e.doubtful() {
		return fmt.Errorf("upload: %s could not be asked whether it has the %d blocks that %s lists", e.bucket.Name(), len(e.here.blocks), shippedName)
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	few := left[:min(3, len(left))]
	return fmt.Errorf("upload: %d blocks are not in the bucket, or not all of them: %s", len(left), strings.Join(few, "; "))
}

// flushHead cuts the head into blocks, which the next pass finds.
func (u *Uploader) flushHead(ctx context.Context) error {
	start := time.Now()
	u.flush.Store(&FlushStatus{State: flushRunning, Blocks: []string{}})
	level.Info(u.logger).Log("msg", "cutting the head into blocks")
	told := start
	o := head.Options{
		BlockDuration: u.opts.blockRange(),
		Progress: func(p head.Progress) {
			u.flush.Store(&FlushStatus{State: flushRunning, Samples: p.Samples, Blocks: []string{}})
			if time.Since(told) >= progressInterval {
				told = time.Now()
				level.Info(u.logger).Log("msg", "cutting the head into blocks", "step", p.Step, "done", p.Done, "total", p.Total, "samples", p.Samples)
			}
		},
	}
	var (
		report head.Report
		err    error
	)
	(&pace{total: &u.steps}).during(func() { report, err = u.cut(ctx, u.opts.DataDir, o, u.opts.Slog) })
	st := &FlushStatus{State: flushDone, Samples: report.Samples, Blocks: []string{}}
	for _, id := range report.Blocks {
		st.Blocks = append(st.Blocks, id.String())
	}
	u.metrics.flushSamples.Add(float64(report.Samples))
	u.metrics.flushDuration.Observe(time.Since(start).Seconds())
	if err != nil {
		u.metrics.flushFailures.Inc()
		st.State, st.Error = flushFailed, err.Error()
		err = fmt.Errorf("flush the head: %w", err)
	}
	u.flush.Store(st)
	level.Info(u.logger).Log("msg", "the head is cut", "state", st.State, "samples", report.Samples, "series", report.Series,
		"blocks", len(report.Blocks), "repaired", report.Repaired, "took", time.Since(start).Round(time.Millisecond))
	return err
}

// flushOrphan flushes the head that a Prometheus which does not come back has
// left.
func (e *engine) flushOrphan(ctx context.Context) (func(), error) {
	err := e.flushHead(ctx)
	return func() {
		if err == nil {
			e.flushed, e.closed = true, true
		}
	}, err
}
