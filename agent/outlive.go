package agent

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// outlivePrometheus waits until Prometheus has gone, or until ctx ends, and
// tells whether it has. When Prometheus stops it first delivers what it has
// for its remote writes: without somebody to take the feedback it would wait
// for its flush deadline, a minute. It lets go of the lock in its data
// directory before that, and of its port after it.
func outlivePrometheus(ctx context.Context, prometheusURL, dataDir string) bool {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		if !listens(ctx, prometheusURL) && lockFree(filepath.Join(dataDir, "lock")) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// listens tells whether anybody accepts connections at the URL's address.
func listens(ctx context.Context, rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // the dialer knows both
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// lockFree tells whether nobody holds the lock, or whether its file is gone,
// as Prometheus leaves it when it ends well.
func lockFree(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return true
	}
	release, _, err := fileutil.Flock(path)
	if err != nil {
		return false
	}
	return release.Release() == nil
}
