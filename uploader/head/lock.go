package head

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// ErrLocked is returned when somebody, Prometheus or another flush, has the
// data directory open.
var ErrLocked = errors.New("the data directory is locked: a Prometheus, or another ringside flush, has it open")

// lock takes Prometheus's lock.
func lock(dir string, logger *slog.Logger) (unlock func() error, err error) {
	l, err := tsdbutil.NewDirLocker(dir, "tsdb", logger, nil)
	if err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	if err := l.Lock(); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("flush %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("flush %s: %w", dir, err)
	}
	return l.Release, nil
}

// Free tells whether nobody holds Prometheus's lock of dataDir, or its file is
// gone, as Prometheus leaves it when it ends well. One that runs with
// --storage.tsdb.no-lockfile holds none.
func Free(dataDir string) bool {
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
