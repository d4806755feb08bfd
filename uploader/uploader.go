// Package uploader carries the TSDB blocks that Prometheus cuts, and its head
// when it has gone, to object storage, in Thanos's layout. A pass over the data
// directory and the bucket makes a plan of what to do (package plan); blocks are
// staged as soon as they are complete, read through, merged where they overlap,
// and put into the bucket (packages block, merge and ship). A pass can end
// anywhere: the next one goes on. While Prometheus is there, nothing of the data
// directory is changed but what is the uploader's own: thanos.shipper.json and
// the directory ringside. When it has gone, package head cuts what it has left.
package uploader

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/head"
	"github.com/ringside-project/ringside/uploader/ship"
)

// Options are what the uploader has to be told of the rest of the sidecar.
// Functions are called from any goroutine and must not block; all but Labels
// may be nil.
type Options struct {
	DataDir string // Prometheus's --storage.tsdb.path
	Node    string // this member's name

	// Labels are the external labels and the replica label, as Prometheus has
	// them now. An error says why they are not known; nothing is uploaded then.
	Labels func() (labels.Labels, error)
	// OutOfOrderWindow is storage.tsdb.out_of_order_time_window.
	OutOfOrderWindow func() time.Duration
	// Conflict says why the labels are not known to be unique in the cluster; empty: they are.
	Conflict func() string
	// PrometheusReady tells whether the Prometheus beside answers that it is.
	PrometheusReady func() bool
	// PrometheusFlags are its command line as /api/v1/status/flags has them; nil
	// when not known.
	PrometheusFlags func() map[string]string
	// PrometheusBlocks are the ULIDs of the blocks that it has lately said to have;
	// nil when not known.
	PrometheusBlocks func() map[string]bool

	Slog *slog.Logger // what Prometheus's tsdb logs to; nil: nowhere
}

func (o *Options) fill() {
	if o.OutOfOrderWindow == nil {
		o.OutOfOrderWindow = func() time.Duration { return 0 }
	}
	if o.Conflict == nil {
		o.Conflict = func() string { return "" }
	}
	if o.PrometheusReady == nil {
		o.PrometheusReady = func() bool { return false }
	}
	if o.PrometheusFlags == nil {
		o.PrometheusFlags = func() map[string]string { return nil }
	}
	if o.PrometheusBlocks == nil {
		o.PrometheusBlocks = func() map[string]bool { return nil }
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
}

// Uploader carries blocks to the bucket.
type Uploader struct {
	cfg     Config
	opts    Options
	logger  log.Logger
	metrics *metrics
	bucket  objstore.Bucket // nil: none is configured, and nothing is done
	shipper *ship.Shipper
	engine  *engine
	status  atomic.Pointer[Status]      // but for Flush
	flush   atomic.Pointer[FlushStatus] // of the last flush
	steps   atomic.Int64                // Progress
	release func()                      // gives the staging back

	// cut flushes the head; the tests have their own.
	cut func(ctx context.Context, dataDir string, o head.Options, logger *slog.Logger) (head.Report, error)
}

// filesAtOnce is how many files are sent at once, of all blocks.
const filesAtOnce = 4

// New validates cfg and prepares the data directory: thanos.shipper.json must
// be there before Prometheus starts. Without a bucket in cfg the Uploader does
// nothing, but has its metrics and its status.
func New(cfg Config, o Options, logger log.Logger, reg prometheus.Registerer) (*Uploader, error) {
	o.fill()
	u := &Uploader{cfg: cfg, opts: o, logger: logger, metrics: newMetrics(reg), cut: head.Flush}
	u.status.Store(&Status{Labels: map[string]string{}, Warnings: []string{}, Blocks: []BlockStatus{}})
	u.flush.Store(&FlushStatus{State: flushIdle, Blocks: []string{}})
	if !cfg.Enabled() {
		return u, nil
	}
	bkt, err := cfg.OpenBucket(logger)
	if err != nil {
		return nil, err
	}
	return u, u.prepare(bkt)
}

// prepare makes u ready to run with the bucket.
func (u *Uploader) prepare(bkt objstore.Bucket) error {
	u.bucket = &stepping{bkt}
	u.shipper = ship.New(u.bucket, filesAtOnce)
	u.metrics.enabled.Set(1)
	if err := os.MkdirAll(u.opts.DataDir, 0o777); err != nil {
		return fmt.Errorf("prometheus.data_dir: %w", explain(err))
	}
	release, err := newStaging(u.opts.DataDir).lock()
	if err != nil {
		return fmt.Errorf("prometheus.data_dir: %w", explain(err))
	}
	u.release = release
	done, err := readShipped(u.opts.DataDir)
	if err != nil {
		level.Warn(u.logger).Log("msg", "the list of uploaded blocks cannot be read: it is made anew from what the bucket holds", "err", err)
	}
	if err := done.save(); err != nil {
		if !full(err) {
			release()
			return fmt.Errorf("prometheus.data_dir: %w", explain(err))
		}
		level.Error(u.logger).Log("msg", "the list of uploaded blocks cannot be written: until it can, Prometheus may compact what is not uploaded", "err", err)
	}
	u.engine = newEngine(u, done)
	if err := u.engine.staging.clean(); err != nil {
		level.Warn(u.logger).Log("msg", "what an earlier run left half staged cannot be removed", "err", err)
	}
	if head.Free(u.opts.DataDir) {
		u.cleanHead()
	}
	u.engine.publish(time.Now())
	return nil
}

// cleanHead removes what a flush that was killed has left. None runs: a flush of
// another program would hold Prometheus's lock, or that of the staging.
func (u *Uploader) cleanHead() {
	if err := head.Clean(u.opts.DataDir); err != nil {
		level.Warn(u.logger).Log("msg", "what an earlier flush left behind cannot be removed", "err", err)
	}
}

// Run uploads until ctx ends. What it leaves undone the next run resumes.
func (u *Uploader) Run(ctx context.Context) error {
	if u.bucket == nil {
		<-ctx.Done()
		return nil
	}
	events, stop := watch(u.opts.DataDir, u.logger)
	defer stop()
	u.engine.loop(ctx, events, func() bool { return false })
	return nil
}

// Status is how things are now.
func (u *Uploader) Status() Status {
	st := *u.status.Load()
	st.Flush = *u.flush.Load()
	return st
}
