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
	if !slices.Equal(st.Warnings, e.warned) {
		e.warned = st.Warnings
		for _, w := range st.Warnings {
			level.Warn(e.logger).Log("msg", w)
		}
	}
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
	}
	for id, err := range e.here.broken {
		st.Blocks = append(st.Blocks, BlockStatus{ULID: id.String(), State: stateRefused, Reason: err.Error(), Sources: []string{}})
	}
	slices.SortFunc(st.Blocks, func(a, b BlockStatus) int {
		return cmp.Or(a.MinTime.Compare(b.MinTime), strings.Compare(a.ULID, b.ULID))
	})
	e.metrics.refused.Set(float64(refused))
	e.metrics.lag.Set(st.LagSeconds)
	e.metrics.reachable.Set(0)
	if e.reachable {
		e.metrics.reachable.Set(1)
	}
	e.status.Store(st)
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

// troubleOf is the failure of a block's staging or upload, if there is one.
func (e *engine) troubleOf(id ulid.ULID) *trouble {
	name := id.String()
	for what, t := range e.troubles {
		if strings.Contains(what, name) {
			return t
		}
	}
	return nil
}
