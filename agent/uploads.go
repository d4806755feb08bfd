package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
	"github.com/ringside-project/ringside/uploader/head"
)

// stall is how long the uploads may make no progress in the end before what is
// left is left behind: several tries, and longer than one hangs.
const stall = 2 * time.Minute

// knownWithin is how long after its start a member knows the others, or that there
// are none, at the latest.
const knownWithin = 10 * time.Second

// carrier is the uploader.
type carrier interface {
	Run(context.Context) error
	Finish(context.Context) error
	Status() uploader.Status
	Progress() int64
}

// uploads carries blocks to the bucket while Prometheus is there, and what is
// left once it has gone.
type uploads struct {
	carrier
	told    *told
	unique  *uniqueness
	flushes bool // the head is to be in the bucket in the end
	logger  log.Logger

	quit  context.Context // ends Run, for finish
	end   context.CancelFunc
	ended chan struct{} // closed when Run has returned
}

func newUploads(c carrier, t *told, logger log.Logger) *uploads {
	u := &uploads{carrier: c, told: t, logger: logger, ended: make(chan struct{})}
	u.quit, u.end = context.WithCancel(context.Background())
	return u
}

// run uploads until finish is called, or ctx ends, and returns when ctx does.
func (u *uploads) run(ctx context.Context) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.quit, cancel)()
	err := u.Run(running)
	close(u.ended)
	if err == nil && u.quit.Err() != nil {
		<-ctx.Done()
	}
	return err
}

// finish carries what is left, for Prometheus has gone, and says what was left
// behind. It gives up when nothing has reached the bucket for a while.
func (u *uploads) finish(ctx context.Context) error {
	u.told.gone.Store(true)
	u.end()
	<-u.ended
	return u.carryRest(ctx)
}

func (u *uploads) carryRest(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		u.cancelStalled(ctx, cancel)
	}()
	start := time.Now()
	err := u.Finish(ctx)
	cancel()
	<-watched
	level.Info(u.logger).Log("msg", "uploads ended", "took", time.Since(start).Round(time.Millisecond), "nothing_left", err == nil)
	return err
}

// cancelStalled calls cancel when nothing has moved for too long.
func (u *uploads) cancelStalled(ctx context.Context, cancel func()) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	moved, last := time.Now(), u.Progress()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := u.Progress(); now != last {
			moved, last = time.Now(), now
		}
		if time.Since(moved) >= stall {
			level.Error(u.logger).Log("msg", "nothing reaches the bucket: giving up", "after", stall)
			cancel()
			return
		}
	}
}

// uniqueness is whether this member's name, and so its labels, are its own.
type uniqueness struct {
	snapshot func() *gossip.Snapshot
	matters  bool                   // blocks are uploaded
	left     atomic.Pointer[string] // what it was when this member left the gossip, which tells nothing new from then on
}

// conflict says why they may not be; empty: they are.
func (u *uniqueness) conflict() string {
	if at := u.left.Load(); at != nil {
		return *at
	}
	s := u.snapshot()
	if s.Conflict == "" && !s.Known {
		return "the other members are not known yet"
	}
	return s.Conflict
}

// leave is for right before this member leaves the gossip. One that has just
// started waits until it knows the others.
func (u *uniqueness) leave(ctx context.Context) {
	if !u.matters {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !u.snapshot().Known && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	now := u.conflict()
	u.left.Store(&now)
}

func (a *Agent) newUploads(cfg *config.Config, logger log.Logger, reg prometheus.Registerer) (*uploads, error) {
	ready := func() bool { return a.scrape.Status().PrometheusReady }
	t, err := newTold(cfg, func() bool { return cfg.Uploader.Enabled() && ready() }, logger)
	if err != nil {
		return nil, err
	}
	o := uploaderOptions(cfg, t, logger)
	unique := &uniqueness{snapshot: a.snapshot.Load, matters: cfg.Uploader.Enabled()}
	o.Conflict = unique.conflict
	o.PrometheusReady = ready
	up, err := uploader.New(cfg.Uploader, o, logger, reg)
	if err != nil {
		return nil, err
	}
	u := newUploads(up, t, logger)
	u.unique = unique
	u.flushes = cfg.Uploader.Enabled() && cfg.Uploader.FlushOnShutdown
	return u, nil
}

// uploaderOptions are those that do not depend on a cluster.
func uploaderOptions(cfg *config.Config, t *told, logger log.Logger) uploader.Options {
	return uploader.Options{
		DataDir: cfg.Prometheus.DataDir, Node: cfg.Cluster.Node,
		Labels: t.labels, OutOfOrderWindow: t.outOfOrderWindow, PrometheusFlags: t.flags, PrometheusBlocks: t.blocks,
		Slog: scrape.Slog(log.With(logger, "component", "tsdb")),
	}
}

// Flush does by hand what a sidecar does in the end, for the data directory of
// a Prometheus that has gone: it cuts the head into blocks and uploads all that
// is not in the bucket. Without a bucket it only cuts. The status tells what has
// been done, the error what is left. blockDuration is that Prometheus's
// --storage.tsdb.min-block-duration.
func Flush(ctx context.Context, cfg *config.Config, blockDuration time.Duration, logger log.Logger) (uploader.Status, error) {
	if err := isThere(cfg.Prometheus.DataDir); err != nil {
		return uploader.Status{}, err
	}
	if !head.Free(cfg.Prometheus.DataDir) {
		return uploader.Status{}, fmt.Errorf("flush %s: %w", cfg.Prometheus.DataDir, head.ErrLocked)
	}
	t, err := newTold(cfg, func() bool { return false }, logger)
	if err != nil {
		return uploader.Status{}, err
	}
	t.gone.Store(true)
	o := uploaderOptions(cfg, t, logger)
	if !cfg.Uploader.Enabled() {
		return cutOnly(ctx, o, blockDuration)
	}
	if _, err := t.labels(); errors.As(err, new(*otherLabels)) {
		return uploader.Status{}, fmt.Errorf("flush: %w", err)
	}
	o.PrometheusFlags = func() map[string]string {
		d := blockDuration.String()
		return map[string]string{"storage.tsdb.min-block-duration": d, "storage.tsdb.max-block-duration": d}
	}
	c := cfg.Uploader
	c.FlushOnShutdown = true
	up, err := uploader.New(c, o, logger, prometheus.NewRegistry())
	if err != nil {
		return uploader.Status{}, err
	}
	err = newUploads(up, t, logger).carryRest(ctx)
	return up.Status(), err
}

// isThere keeps Flush from making a data directory whose name is mistyped, of
// which there would be nothing to rescue.
func isThere(dataDir string) error {
	info, err := os.Stat(dataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("prometheus.data_dir %s: no such directory; name the one that the Prometheus has left", dataDir)
	case err != nil:
		return fmt.Errorf("prometheus.data_dir: %w", err)
	case !info.IsDir():
		return fmt.Errorf("prometheus.data_dir %s: not a directory; name the one that the Prometheus has left", dataDir)
	}
	return nil
}

func cutOnly(ctx context.Context, o uploader.Options, blockDuration time.Duration) (uploader.Status, error) {
	report, err := head.Flush(ctx, o.DataDir, head.Options{BlockDuration: blockDuration}, o.Slog)
	st := uploader.Status{Flush: uploader.FlushStatus{State: "done", Samples: report.Samples}}
	for _, id := range report.Blocks {
		st.Flush.Blocks = append(st.Flush.Blocks, id.String())
	}
	if err != nil {
		st.Flush.State, st.Flush.Error = "failed", err.Error()
	}
	return st, err
}
