package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/scrape"
)

const (
	reloadTimeout  = time.Minute
	configPoll     = 5 * time.Second        // between two looks at ringside.yml, and between two tries of what was refused
	configSettling = 100 * time.Millisecond // after an event: an editor may still be writing
)

// sharder takes new sharding options, and reads the source prometheus.yml again.
type sharder interface {
	Reload(context.Context, scrape.Sharding) error
}

// reloader keeps the configuration in force up to date with ringside.yml. A
// file that is bad changes nothing.
type reloader struct {
	path      string
	expandEnv bool
	target    sharder
	logger    log.Logger
	requests  chan struct{}

	one sync.Mutex // held for a whole reload

	mu     sync.Mutex
	now    reloadStatus
	told   string // what was last said to need a restart
	failed string // the error last logged
	retry  bool   // ringside.yml is good, but was not taken over
}

// reloadStatus is what came of reading ringside.yml. Nobody changes it again.
type reloadStatus struct {
	inForce      config.Config
	needsRestart []string  // blocks that have changed and are not in force
	err          error     // of the last reload; nil: it went well
	at           time.Time // of the last one that went well
}

func newReloader(cfg *config.Config, opts Options, target sharder, logger log.Logger) *reloader {
	return &reloader{
		path:      opts.ConfigFile,
		expandEnv: opts.ExpandEnv,
		target:    target,
		logger:    logger,
		requests:  make(chan struct{}, 1),
		now:       reloadStatus{inForce: *cfg, at: time.Now()},
	}
}

func (r *reloader) status() reloadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// request asks run for a reload.
func (r *reloader) request() {
	select {
	case r.requests <- struct{}{}:
	default: // one is waiting already
	}
}

// reload reads ringside.yml and the source prometheus.yml, and puts the
// sharding options in force. If either is bad, the error says why and all
// stays as it was. The other blocks wait for a restart, which is logged.
func (r *reloader) reload(ctx context.Context) error {
	r.one.Lock()
	defer r.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	next, err := config.Load(r.path, r.expandEnv)
	good := err == nil
	if good {
		if err = r.target.Reload(ctx, next.Scrape); err != nil {
			err = fmt.Errorf("reload source: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.err, r.retry = err, good && err != nil
	if err != nil {
		if r.failed != err.Error() && !errors.Is(err, context.Canceled) {
			level.Error(r.logger).Log("msg", "reload refused, the last good configuration stays", "err", err)
		}
		r.failed = err.Error()
		return err
	}
	r.failed = ""
	r.now.needsRestart = r.now.inForce.NeedsRestart(next)
	r.now.inForce.Scrape = next.Scrape
	r.now.at = time.Now()
	level.Info(r.logger).Log("msg", "configuration reloaded", "path", r.path)
	if names := strings.Join(r.now.needsRestart, ", "); names != r.told {
		r.told = names
		if names != "" {
			level.Warn(r.logger).Log("msg", "changed, but takes effect only at the next start", "blocks", names)
		}
	}
	return nil
}

// run reloads whenever ringside.yml changes or a reload is requested, until
// ctx ends. It watches the directory, where Kubernetes swaps a link, and polls
// the content, for not every change causes an event.
func (r *reloader) run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(filepath.Dir(r.path))
	}
	if err != nil {
		level.Warn(r.logger).Log("msg", "ringside.yml is polled only", "interval", configPoll, "err", err)
		watcher = &fsnotify.Watcher{}
	}
	r.watch(ctx, watcher.Events, watcher.Errors)
	return nil
}

func (r *reloader) watch(ctx context.Context, events <-chan fsnotify.Event, eventErrors <-chan error) {
	ticker := time.NewTicker(configPoll)
	defer ticker.Stop()
	seed := maphash.MakeSeed()
	seen := r.digest(seed)
	var settled <-chan time.Time
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-events:
			settled = time.After(configSettling)
			continue
		case err := <-eventErrors:
			level.Warn(r.logger).Log("msg", "watch of ringside.yml", "err", err)
			continue
		case <-r.requests:
			asked = true
		case <-settled:
			settled = nil
		case <-ticker.C:
		}
		if now := r.digest(seed); asked || now != seen || r.wantsRetry() {
			seen = now
			_ = r.reload(ctx) // which has logged the error
		}
	}
}

func (r *reloader) wantsRetry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retry
}

// digest is of the file's content; of a file that cannot be read, of the reason.
func (r *reloader) digest(seed maphash.Seed) uint64 {
	content, err := os.ReadFile(r.path)
	if err != nil {
		return maphash.String(seed, err.Error())
	}
	return maphash.Bytes(seed, content)
}
