package scrape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/fsnotify/fsnotify"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// loaded is the outcome of reading the source.
type loaded struct {
	source   *promconfig.Source // nil: err says why
	sharding Sharding
	rules    uint64    // digest of the rule files' states
	newest   time.Time // modification time of the newest rule file
	err      error
}

// sourceWatcher reads the source prometheus.yml again whenever it, or a file
// that it names, may have changed. It looks at the files themselves, through
// symbolic links, at every event in their directories and every pollInterval:
// a Kubernetes ConfigMap changes by a swap of a link that is none of the
// files watched. While the source is bad it is read again at every look, for
// what is wrong need not be in a file of ours.
type sourceWatcher struct {
	cfg    Config
	logger log.Logger
	out    chan loaded       // newest wins
	asked  chan reloadAsk    // read it now
	events *fsnotify.Watcher // nil: only polling

	sharding Sharding
	last     *promconfig.Source // the last good one
	seen     uint64             // digest of the states of all files
	bad      bool
	why      string // it is bad
}

// reloadAsk asks for the source to be read now, with these options.
type reloadAsk struct {
	sharding Sharding
	answer   chan error
}

func newSourceWatcher(cfg Config, logger log.Logger) *sourceWatcher {
	w := &sourceWatcher{
		cfg: cfg, logger: logger, sharding: cfg.Sharding,
		out: make(chan loaded, 1), asked: make(chan reloadAsk),
	}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		level.Warn(logger).Log("msg", "files are polled only", "interval", pollInterval, "err", err)
		return w
	}
	w.events = events
	return w
}

// run reads the source at once and then whenever it changes, until ctx ends.
func (w *sourceWatcher) run(ctx context.Context) {
	var events chan fsnotify.Event
	var eventErrors chan error
	if w.events != nil {
		defer w.events.Close()
		events, eventErrors = w.events.Events, w.events.Errors
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	w.watch(nil)
	w.read(w.sharding)
	var quiet <-chan time.Time // a file may be half written at the first event
	for {
		select {
		case <-ctx.Done():
			return
		case ask := <-w.asked:
			ask.answer <- w.read(ask.sharding)
		case <-events:
			quiet = time.After(writeTime)
		case <-quiet:
			quiet = nil
			w.look()
		case err := <-eventErrors:
			level.Warn(w.logger).Log("msg", "watch of the source", "err", err)
		case <-ticker.C:
			w.look()
		}
	}
}

// look reads the source if a file has changed, or if it was bad.
func (w *sourceWatcher) look() {
	if state, _ := fileStates(w.files()); w.bad || state != w.seen {
		w.read(w.sharding)
	}
}

// files lists what there is to look at: the files of the last good source,
// and the directories in which its globs may find more.
func (w *sourceWatcher) files() []string {
	files := []string{w.cfg.Prometheus.ConfigFile}
	if w.last != nil {
		files = slices.Concat(files, w.last.Files, w.last.Dirs)
	}
	return files
}

// read loads the source and hands over what came of it.
func (w *sourceWatcher) read(sharding Sharding) error {
	before, _ := fileStates(w.files()) // before reading: a change in between is seen at the next look
	source, err := promconfig.Load(w.cfg.Prometheus.ConfigFile, sourceOptions(w.cfg, sharding))
	if err == nil && len(source.Jobs) == 0 && w.last != nil && len(w.last.Jobs) > 0 {
		err = fmt.Errorf("%s: no scrape jobs are left, which looks like a file that is being written; to have none, restart the sidecar", w.cfg.Prometheus.ConfigFile)
	}
	if err != nil {
		if err.Error() != w.why {
			level.Error(w.logger).Log("msg", "source refused, the last good one stays", "err", err)
		}
		w.bad, w.why, w.seen = true, err.Error(), before
		offer(w.out, loaded{err: err})
		return err
	}
	if w.bad {
		level.Info(w.logger).Log("msg", "source is good again", "path", w.cfg.Prometheus.ConfigFile)
	}
	looked := w.files()
	w.bad, w.why, w.last, w.sharding = false, "", source, sharding
	w.watch(source.Dirs)
	rules, newest := fileStates(source.RuleFiles)
	if w.seen = before; !slices.Equal(looked, w.files()) {
		w.seen = 0 // the state before reading is not known: read once more at the next look
	}
	offer(w.out, loaded{source: source, sharding: sharding, rules: rules, newest: newest})
	return nil
}

func (w *sourceWatcher) watch(dirs []string) {
	if w.events == nil {
		return
	}
	dirs = append([]string{filepath.Dir(w.cfg.Prometheus.ConfigFile)}, dirs...)
	for _, dir := range dirs {
		if slices.Contains(w.events.WatchList(), dir) {
			continue
		}
		if err := w.events.Add(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			level.Warn(w.logger).Log("msg", "directory is polled only", "dir", dir, "err", err)
		}
	}
}

// fileStates digests which files there are, and their sizes and times; newest
// is the latest modification time among them.
func fileStates(paths []string) (state uint64, newest time.Time) {
	var d xxhash.Digest
	d.Reset()
	for _, path := range paths {
		d.WriteString(path)
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		info, err := os.Stat(real)
		if err != nil {
			continue
		}
		d.WriteString(real)
		d.Write(binary.LittleEndian.AppendUint64(nil, uint64(info.Size())))
		d.Write(binary.LittleEndian.AppendUint64(nil, uint64(info.ModTime().UnixNano())))
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return d.Sum64(), newest
}

func sourceOptions(cfg Config, sharding Sharding) promconfig.Options {
	return promconfig.Options{
		ReplicaLabel: cfg.ReplicaLabel, Replica: cfg.Node,
		TargetsDir: cfg.Prometheus.TargetsDir, GeneratedFile: cfg.Prometheus.GeneratedConfigFile,
		FeedbackURL: cfg.FeedbackURL, RelayURL: cfg.RelayURL, RelayMessage: cfg.RelayMessage,
		Version: cfg.Version,
		Sharded: func(job string) bool { return !sharding.job(job).Everywhere },
	}
}
