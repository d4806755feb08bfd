package head_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"

	"github.com/ringside-project/ringside/uploader/head"
)

// flushAsChild is the main function of this test program's children.
func flushAsChild(dir string) int {
	flush := func() (head.Report, error) { return head.Flush(context.Background(), dir, head.Options{}, quiet) }
	if os.Getenv("RINGSIDE_FLUSH_HOW") == "FlushWAL" {
		flush = func() (head.Report, error) { return flushWAL(dir) }
	}
	r, err := flush()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func flushWAL(dir string) (head.Report, error) {
	var r head.Report
	start := time.Now()
	db, err := tsdb.OpenDBReadOnly(dir, "", quiet)
	if err != nil {
		return r, err
	}
	out := filepath.Join(dir, "out")
	if err := db.FlushWAL(out); err != nil {
		return r, err
	}
	if err := db.Close(); err != nil {
		return r, err
	}
	r.Took = time.Since(start)
	metas, err := filepath.Glob(filepath.Join(out, "*", "meta.json"))
	if err != nil {
		return r, err
	}
	for _, m := range metas {
		var meta tsdb.BlockMeta
		text, err := os.ReadFile(m)
		if err != nil {
			return r, err
		}
		if err := json.Unmarshal(text, &meta); err != nil {
			return r, err
		}
		r.Samples += int64(meta.Stats.NumSamples)
	}
	return r, nil
}

// child is this test program, to flush dir.
func child(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "RINGSIDE_FLUSH="+dir)
	return c
}

// TestKilled kills flushes at random. Another one takes up, as often as not
// after a Prometheus has had the directory open.
func TestKilled(t *testing.T) {
	t.Parallel()
	whole, want := crashed(t)
	start := time.Now()
	if out, err := child(t, image(t, whole)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(start)
	random := rand.New(rand.NewPCG(1, 2))
	killed := 0
	for i := range 12 {
		dir := image(t, whole)
		for range 1 + i%3 {
			c := child(t, dir)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(random.Int64N(int64(took))), func() { c.Process.Kill() })
			if c.Wait() != nil {
				killed++
			}
			timer.Stop()
		}
		if i%2 == 0 {
			db := open(t, image(t, dir), smallSegments(4))
			equal(t, "what a Prometheus finds", everything(t, db), want)
			shut(t, db)
		}
		flush(t, dir)
		got, metas := inBlocks(t, dir)
		equal(t, "blocks", got, want)
		aligned(t, metas)
	}
	if killed == 0 {
		t.Error("no flush was killed before it ended")
	}
}

// TestEnds ends with its context, between and within windows, and leaves no
// goroutine.
func TestEnds(t *testing.T) {
	t.Parallel()
	dir, want := crashed(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := head.Flush(ctx, dir, head.Options{}, quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	r, err := head.Flush(ctx, dir, head.Options{Progress: func(p head.Progress) {
		if p.Step == "cut" {
			cancel()
		}
	}}, quiet)
	if !errors.Is(err, context.Canceled) || len(r.Blocks) != 1 {
		t.Errorf("got %+v, %v; want a block and that it was canceled", r, err)
	}
	flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
}
