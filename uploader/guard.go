package uploader

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/uploader/head"
)

// goneAfter is how long Prometheus must have been away before its head is
// flushed without being asked for: whoever has the data directory open keeps a
// Prometheus that starts from it, so that one that restarts must not be met.
const goneAfter = 2 * time.Minute

// knownAfter is how long Prometheus may take to know of a block in its directory,
// which it reads every minute, and to be asked for it.
const knownAfter = 2 * time.Minute

// strangeAfter is how long a data directory must have seemed to be another's for that to
// be believed of a Prometheus that has gone: one that ends lets go of its lock before it
// is seen not to be ready.
const strangeAfter = 20 * time.Second

// guard watches what must hold before anything is uploaded.
type guard struct {
	opts  *Options
	ready time.Time // since when Prometheus has been ready; zero: it is not
	away  time.Time // since when it has been neither ready nor in its data directory; zero: it is not

	strange time.Time // since when the data directory has been another's; zero: it is not
	seen    time.Time // when Prometheus was last ready
}

// watch looks at Prometheus, and tells whether it has just become ready. Between
// two calls pass seconds, not minutes.
func (g *guard) watch(now time.Time) (started bool) {
	ready := g.opts.PrometheusReady()
	started = ready && g.ready.IsZero()
	since(&g.ready, ready, now)
	since(&g.away, !ready && head.Free(g.opts.DataDir), now)
	return started
}

func since(at *time.Time, is bool, now time.Time) {
	if !is {
		*at = time.Time{}
	} else if at.IsZero() {
		*at = now
	}
}

// gone tells whether Prometheus has been away for so long that it is not just
// being restarted. Of one that takes no lock that cannot be told: it could come
// back at any moment, and nothing would keep it from what is being read.
func (g *guard) gone(now time.Time) bool {
	return !g.away.IsZero() && now.Sub(g.away) >= goneAfter && !g.opts.lockless() && g.strange.IsZero()
}

// hold says why nothing may be uploaded now, and gives the labels if it may.
func (g *guard) hold(blocks map[ulid.ULID]*found, now time.Time) (external labels.Labels, reason string) {
	if !g.ready.IsZero() {
		since(&g.strange, g.another(blocks, now), now)
		g.seen = now
	} else if !g.believed() {
		g.strange = time.Time{}
	}
	external, err := g.opts.Labels()
	switch {
	case err != nil:
		return labels.EmptyLabels(), fmt.Sprintf("the external labels are not known yet: %v", err)
	case external.IsEmpty():
		return external, "there are no external labels: give global.external_labels in prometheus.yml; without them nobody can tell whose blocks these are"
	}
	if conflict := g.opts.Conflict(); conflict != "" {
		return external, "the labels " + external.String() + " may not be this member's alone: " + conflict
	}
	if !g.strange.IsZero() {
		return external, g.anothers().Error()
	}
	return external, ""
}

// believed tells whether the data directory is another's also when Prometheus has gone.
func (g *guard) believed() bool { return !g.strange.IsZero() && g.seen.Sub(g.strange) >= strangeAfter }

// anothers says that the data directory is another's.
func (g *guard) anothers() error {
	return fmt.Errorf("prometheus.data_dir, %s, is not the one of the Prometheus beside this sidecar: that one is, or was, ready, "+
		"and either nobody held %s, or none of the blocks here is its own; give Prometheus's --storage.tsdb.path",
		g.opts.DataDir, filepath.Join(g.opts.DataDir, "lock"))
}

// another tells whether the data directory is not that of the Prometheus that is
// ready: it is not locked, or that one knows none of its blocks. A young block says
// nothing: Prometheus may not have told of it yet.
func (g *guard) another(blocks map[ulid.ULID]*found, now time.Time) bool {
	if !g.opts.lockless() && head.Free(g.opts.DataDir) {
		return true
	}
	known, local := g.opts.PrometheusBlocks(), 0
	for id, f := range blocks {
		if f.inData && known[id.String()] {
			return false
		}
		if f.inData && now.Sub(f.written) >= knownAfter {
			local++
		}
	}
	return known != nil && local > 0
}

// untold tells whether the block is young, and Prometheus, which tells of its blocks, has told of
// none of those that are here. Until it does another may have the directory open.
func (e *engine) untold(f *found, now time.Time) bool {
	if e.finishing || !f.inData || now.Sub(f.written) >= knownAfter {
		return false
	}
	known := e.opts.PrometheusBlocks()
	for id, here := range e.here.blocks {
		if here.inData && known[id.String()] {
			return false
		}
	}
	return known != nil
}

// flag is one of Prometheus's command line; empty when it is not known.
func (o *Options) flag(name string) string { return o.PrometheusFlags()[name] }

// lockless tells whether Prometheus says that it takes no lock.
func (o *Options) lockless() bool { return o.flag("storage.tsdb.no-lockfile") == "true" }

// blockRange is how much time a block spans; 0 when that is not known.
func (o *Options) blockRange() time.Duration {
	d, err := model.ParseDuration(o.flag("storage.tsdb.min-block-duration"))
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// shippedThere is the path of the list of uploaded blocks for Prometheus, which may
// have another working directory, or other mounts.
func (o *Options) shippedThere() string {
	return filepath.Join(o.flag("storage.tsdb.path"), shippedName)
}

// delays tells whether Prometheus reads the list of uploaded blocks. A file that is
// not there does not keep it from compacting.
func (o *Options) delays() bool {
	path := filepath.Clean(o.flag("storage.tsdb.delay-compact-file.path"))
	if there := o.shippedThere(); filepath.IsAbs(path) == filepath.IsAbs(there) {
		return path == there
	}
	return path == filepath.Join(o.DataDir, shippedName) // that both have a directory by one name is likely
}

// warnings says what of Prometheus's command line stands in the way of uploads.
func (o *Options) warnings() []string {
	warnings := []string{}
	flags := o.PrometheusFlags()
	if flags == nil {
		return warnings
	}
	compacts := flags["storage.tsdb.min-block-duration"] != flags["storage.tsdb.max-block-duration"]
	if compacts && !o.delays() {
		warnings = append(warnings, fmt.Sprintf("Prometheus may compact blocks before they are uploaded: start it with --storage.tsdb.delay-compact-file.path=%s",
			o.shippedThere()))
	}
	if o.lockless() {
		warnings = append(warnings, "Prometheus takes no lock: if it goes and this sidecar stays, its head is not flushed, for it could come back meanwhile. "+
			"Start it without --storage.tsdb.no-lockfile, or end this sidecar too: it flushes then")
	}
	return warnings
}
