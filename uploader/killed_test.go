package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/uploader/bucket"
)

// TestMain lets this test program be its own child.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RINGSIDE_FINISH"); dir != "" {
		os.Exit(finishAsChild(dir))
	}
	goleak.VerifyTestMain(m)
}

// beside uploads to a directory beside the data directory.
func beside(dir string) Config {
	c := DefaultConfig
	c.Bucket = &bucket.Config{Type: "FILESYSTEM", Config: map[string]any{"directory": filepath.Join(dir, "bucket")}}
	return c
}

func finishAsChild(dir string) int {
	u, err := New(beside(dir), Options{
		DataDir: filepath.Join(dir, "data"), Node: "prometheus-0",
		Labels: func() (labels.Labels, error) { return labels.FromStrings("cluster", "test"), nil },
	}, log.NewNopLogger(), prometheus.NewRegistry())
	if err == nil {
		err = u.Finish(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// TestKilled kills, at random, the whole of what happens in the end: the flush of
// the head, staging, merges and uploads. Whenever that is, the bucket shows whole
// blocks only, and the next process goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
	template := t.TempDir()
	db := lively(t, filepath.Join(template, "data"), tsdb.DefaultOptions())
	q, err := db.Querier(0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	want := query(t, q)
	if err := errors.Join(q.Close(), db.CompactHead(tsdb.NewRangeHead(db.Head(), origin, origin+2*hour-1))); err != nil {
		t.Fatal(err)
	}
	image := t.TempDir() // as a kill -9 leaves it
	if err := os.CopyFS(image, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	killed, longest := 0, time.Duration(0) // what it takes when nobody kills it, which the first tells
	for i := range 20 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
			t.Fatal(err)
		}
		c := beside(dir)
		remote, err := c.OpenBucket(log.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		for kills := 6; ; kills-- {
			start, life := time.Now(), time.Minute
			if kills > 0 && i > 0 {
				life = time.Duration(random.Int64N(int64(longest)))
			}
			whole := finishFor(t, dir, life)
			fetch(t, remote)
			if whole {
				longest = max(longest, time.Since(start))
				break
			}
			killed++
		}
		sameContent(t, remote, want)
	}
	t.Logf("killed %d times", killed)
	if killed < 10 {
		t.Errorf("only %d were killed", killed)
	}
}

// finishFor runs a child that is killed after a while, unless it has finished by
// then, which it tells.
func finishFor(t *testing.T, dir string, life time.Duration) bool {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "RINGSIDE_FINISH="+dir)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := time.AfterFunc(life, func() { child.Process.Signal(syscall.SIGKILL) })
	text, _ := io.ReadAll(out)
	end.Stop()
	err = child.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != -1) {
		t.Fatalf("%v: %s", err, text)
	}
	return err == nil
}
