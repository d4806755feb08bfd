package uploader

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/plan"
)

// publish makes the state known.
func (e *engine) publish(now time.Time) {
	st := &Status{
		Bucket:   &BucketStatus{Type: string(e.bucket.Provider()), Name: e.bucket.Name(), Reachable: e.reachable, Error: e.failure},
		Labels:   e.external.Map(),
		Warnings: e.opts.warnings(),
		Blocks:   []BlockStatus{},
	}
	e.warn(st.Warnings, now)
	st.Held = e.heldBefore
	refused := len(e.here.broken)
	for id, f := range e.here.blocks {
		v := e.plan.Verdicts[id]
		st.Blocks = append(st.Blocks, e.blockStatus(id, f, v))
		if v.LeftOut || e.state(id, v) == stateRefused {
			refused++
		}
		if needed(v.State) || v.State == plan.Within {
			st.LagSeconds = max(st.LagSeconds, now.Sub(f.Cut()).Seconds())
		}
		if v.State == plan.Due || v.State == plan.Held {
			st.OverdueSeconds = max(st.OverdueSeconds, now.Sub(v.Since).Seconds())
		}
	}
	for id, err := range e.here.broken {
		st.Blocks = append(st.Blocks, BlockStatus{ULID: id.String(), State: stateRefused, Reason: err.Error(), Sources: []string{}})
	}
	slices.SortFunc(st.Blocks, func(a, b BlockStatus) int {
		return cmp.Or(a.MinTime.Compare(b.MinTime), strings.Compare(a.ULID, b.ULID))
	})
	e.metrics.tell(st.Blocks)
	e.metrics.refused.Set(float64(refused))
	e.metrics.lag.Set(st.LagSeconds)
	e.metrics.warnings.Set(float64(len(st.Warnings)))
	e.metrics.held.Set(0)
	if st.Held != "" {
		e.metrics.held.Set(1)
	}
	e.metrics.reachable.Set(0)
	if e.reachable {
		e.metrics.reachable.Set(1)
	}
	e.status.Store(st)
}

// warn logs what stands in the way of all uploads, once, and what lasts of it:
// a Prometheus that ends lets go of its data directory before it is seen to be gone.
func (e *engine) warn(warnings []string, now time.Time) {
	if !slices.Equal(warnings, e.warned) {
		e.warned = warnings
		for _, w := range warnings {
			level.Warn(e.logger).Log("msg", w)
		}
	}
	if e.held != e.heldNow {
		e.heldNow, e.heldSince = e.held, now
	}
	if lasts := now.Sub(e.heldSince) >= pollInterval/2; lasts && e.held != e.heldBefore && (e.held == "" || e.anyHeld() || !e.guard.strange.IsZero()) {
		e.heldBefore = e.held
		if e.held != "" {
			level.Warn(e.logger).Log("msg", "nothing is uploaded", "reason", e.held)
		}
	}
}

// blockStatus is what the status says of a block.
func (e *engine) blockStatus(id ulid.ULID, f *found, v plan.Verdict) BlockStatus {
	meta := &f.Meta
	b := BlockStatus{
		ULID: id.String(), MinTime: time.UnixMilli(meta.MinTime).UTC(), MaxTime: time.UnixMilli(meta.MaxTime).UTC(),
		Samples: meta.Stats.NumSamples, Series: meta.Stats.NumSeries, Bytes: f.Bytes, Level: meta.Compaction.Level,
		Sources: []string{}, State: e.state(id, v), Reason: v.Reason,
	}
	for _, s := range meta.Compaction.Sources {
		b.Sources = append(b.Sources, s.String())
	}
	if b.State == stateUploaded {
		b.UploadedBytes = f.Bytes
	}
	if t := e.troubles["look"]; t != nil && v.State == plan.Due && b.Reason == "" {
		b.Reason = unreadable + t.err.Error()
	}
	if b.State == stateWaiting && b.Reason == "" && e.untold(f, time.Now()) {
		b.Reason = "Prometheus has told of none of the blocks here yet"
	}
	if t := e.troubleOf(id); t != nil {
		b.State, b.Reason, b.Attempts, b.NextTry = stateFailed, t.err.Error(), t.attempts, t.next.UTC()
	}
	for _, j := range e.jobs {
		if slices.Contains(j.blocks, id) {
			b.State, b.Reason, b.UploadedBytes = stateUploading, "", min(j.sent.Load(), f.Bytes)
			if doing := j.doing.Load(); doing != nil {
				b.Reason = *doing
			}
		}
	}
	return b
}

// The states of a block in the status.
const (
	stateWaiting   = "waiting"
	stateUploading = "uploading"
	stateUploaded  = "uploaded"
	stateCovered   = "covered"
	stateMerged    = "merged"
	stateRefused   = "refused"
	stateFailed    = "failed"
)

func (e *engine) state(id ulid.ULID, v plan.Verdict) string {
	switch v.State {
	case plan.Up, plan.Covered:
		if e.mergedIn[id] {
			return stateMerged
		}
		if v.State == plan.Up {
			return stateUploaded
		}
		return stateCovered
	case plan.Refused:
		return stateRefused
	case plan.Held:
		if e.held != "" {
			return stateRefused
		}
	}
	return stateWaiting
}

// troubleOf is the failure of a block's staging, merge or upload, if there is one:
// of several, the one that is tried next.
func (e *engine) troubleOf(id ulid.ULID) (of *trouble) {
	for _, t := range e.troubles {
		if slices.Contains(t.blocks, id) && (of == nil || t.next.Before(of.next)) {
			of = t
		}
	}
	return of
}
