package uploader

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

const (
	// strangerAfter is how long Prometheus may be ready before it must hold the
	// lock of its data directory.
	strangerAfter = time.Minute
	// goneAfter is how long Prometheus must have been away before its head is
	// flushed without being asked for: whoever has the data directory open keeps a
	// Prometheus that starts from it, so that one that restarts must not be met.
	goneAfter = 2 * time.Minute
)

// guard watches what must hold before anything is uploaded.
type guard struct {
	opts  *Options
	ready time.Time // since when Prometheus has been ready; zero: it is not
	away  time.Time // since when it has been neither ready nor in its data directory; zero: it is not
}

// watch looks at Prometheus. Between two calls pass seconds, not minutes.
func (g *guard) watch(now time.Time) {
	ready := g.opts.PrometheusReady()
	since(&g.ready, ready, now)
	since(&g.away, !ready && lockFree(g.opts.DataDir), now)
}

func since(at *time.Time, is bool, now time.Time) {
	if !is {
		*at = time.Time{}
	} else if at.IsZero() {
		*at = now
	}
}

// gone tells whether Prometheus has been away for so long that it is not just
// being restarted.
func (g *guard) gone(now time.Time) bool { return !g.away.IsZero() && now.Sub(g.away) >= goneAfter }

// hold says why nothing may be uploaded now, and gives the labels if it may.
func (g *guard) hold(now time.Time) (external labels.Labels, reason string) {
	external, err := g.opts.Labels()
	switch {
	case err != nil:
		return labels.EmptyLabels(), fmt.Sprintf("the external labels are not known yet: %v", err)
	case external.IsEmpty():
		return external, "there are no external labels: give global.external_labels in prometheus.yml; without them nobody can tell whose blocks these are"
	}
	if conflict := g.opts.Conflict(); conflict != "" {
		return external, "the labels " + external.String() + " are not this member's alone: " + conflict
	}
	if !g.ready.IsZero() && now.Sub(g.ready) >= strangerAfter && g.opts.flag("storage.tsdb.no-lockfile") != "true" && lockFree(g.opts.DataDir) {
		return external, fmt.Sprintf("prometheus.data_dir, %s, is not the one of the Prometheus beside this sidecar: that one is ready, and nobody holds %s",
			g.opts.DataDir, filepath.Join(g.opts.DataDir, "lock"))
	}
	return external, ""
}

// flag is one of Prometheus's command line; empty when it is not known.
func (o *Options) flag(name string) string { return o.PrometheusFlags()[name] }

// blockRange is how much time a block spans; 0 when that is not known.
func (o *Options) blockRange() time.Duration {
	d, err := model.ParseDuration(o.flag("storage.tsdb.min-block-duration"))
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// warnings says what of Prometheus's command line stands in the way of uploads.
func (o *Options) warnings() []string {
	warnings := []string{}
	flags := o.PrometheusFlags()
	if flags == nil {
		return warnings
	}
	compacts := flags["storage.tsdb.min-block-duration"] != flags["storage.tsdb.max-block-duration"]
	if compacts && filepath.Base(flags["storage.tsdb.delay-compact-file.path"]) != shippedName {
		warnings = append(warnings, fmt.Sprintf("Prometheus may compact blocks before they are uploaded: start it with --storage.tsdb.delay-compact-file.path=%s",
			filepath.Join(o.DataDir, shippedName)))
	}
	return warnings
}

// lockFree tells whether nobody has the data directory open: nobody holds its
// lock, or the lock's file is gone, as Prometheus leaves it when it ends well.
func lockFree(dataDir string) bool {
	path := filepath.Join(dataDir, "lock")
	if _, err := os.Stat(path); err != nil {
		return os.IsNotExist(err)
	}
	release, _, err := fileutil.Flock(path)
	if err != nil {
		return false
	}
	return release.Release() == nil
}
