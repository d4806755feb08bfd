package agent

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
)

func TestOutlivePrometheus(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	outlived := func(wait time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		return outlivePrometheus(ctx, "http://"+listener.Addr().String(), dir)
	}
	const moment, long = time.Millisecond, time.Minute
	if outlived(moment) {
		t.Error("it listens and holds its lock, but counts as gone")
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if outlived(moment) {
		t.Error("it still listens, to deliver its remote writes, but counts as gone")
	}
	listener.Close()
	if !outlived(long) {
		t.Error("it has gone, but is waited for")
	}
}
