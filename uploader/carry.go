package uploader

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/block"
)

// progressInterval is how often a long upload shows in the log.
const progressInterval = 30 * time.Second

// place is where in a bucket a block goes.
type place struct {
	external map[string]string
	replaces []ulid.ULID // blocks there that give way to it
}

// upload puts a block into the bucket as it is.
func (e *engine) upload(ctx context.Context, j *job, b *block.Block, to place) (func(), error) {
	start := time.Now()
	j.does("")
	if err := e.shipper.Reserve(ctx, to.replaces, b.Meta.ULID); err != nil { // soon after the look at the bucket
		return func() { e.answered(err) }, err
	}
	meta, err := block.Describe(b, to.external)
	if err != nil {
		return func() {}, err
	}
	stop := e.report(j, b)
	defer stop()
	err = e.shipper.Upload(ctx, b.Dir, meta, func(n int64) {
		j.sent.Add(n)
		j.pace.step(n)
		e.metrics.bytes.Add(float64(n))
	})
	if err != nil {
		staged := block.Block{Dir: b.Dir, Meta: *meta} // so that the next attempt need not hash everything again
		return func() { e.answered(err) }, errors.Join(err, staged.WriteMeta())
	}
	took := time.Since(start)
	level.Info(e.logger).Log("msg", "uploaded block", "block", b.Meta.ULID, "samples", b.Meta.Stats.NumSamples, "bytes", b.Bytes, "took", took.Round(time.Millisecond), "replaces", len(to.replaces))
	return func() {
		e.answered(nil)
		e.metrics.duration.Observe(took.Seconds())
		e.own = append(e.own, remote(meta))
		for _, origin := range b.Origins() {
			e.mergedIn[origin] = true
		}
	}, nil
}

// report shows a long upload in the log until it is stopped.
func (e *engine) report(j *job, b *block.Block) (stop func()) {
	return every(progressInterval, func() {
		level.Info(e.logger).Log("msg", "uploading block", "block", b.Meta.ULID, "sent", j.sent.Load(), "bytes", b.Bytes)
	})
}
