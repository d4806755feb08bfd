package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/ringside-project/ringside/uploader"
)

// courier is an uploader that moves n times, a minute apart, in the end.
type courier struct {
	n       int
	cutting bool // that is what it does, all the while
	merging bool // the same
	left    error
	failed  error // of Run

	moved   atomic.Int64
	running atomic.Bool
	late    atomic.Bool // it was told to finish while it ran
}

func (c *courier) Run(ctx context.Context) error {
	c.running.Store(true)
	defer c.running.Store(false)
	if c.failed != nil {
		return c.failed
	}
	<-ctx.Done()
	time.Sleep(time.Second)
	return nil
}

func (c *courier) Finish(ctx context.Context) error {
	c.late.Store(c.running.Load())
	for range c.n {
		select {
		case <-ctx.Done():
			return errors.New("left behind")
		case <-time.After(time.Minute):
			c.moved.Add(1)
		}
	}
	if c.left != nil {
		<-ctx.Done()
	}
	return c.left
}

func (c *courier) Status() uploader.Status {
	st := uploader.Status{Blocks: []uploader.BlockStatus{{UploadedBytes: c.moved.Load(), State: "uploading"}}}
	if c.merging {
		st.Blocks = []uploader.BlockStatus{{State: "uploading", Reason: "it is merged"}}
	}
	if c.cutting {
		st.Blocks, st.Flush.State = nil, "running"
	}
	return st
}

// TestFinish has what is left carried after the passes have ended: for as long
// as something moves, and not for long once nothing does.
func TestFinish(t *testing.T) {
	for _, tc := range []struct {
		name    string
		courier *courier
		took    time.Duration
		err     string
	}{
		{"nothing is left", &courier{}, 0, ""},
		{"it takes long", &courier{n: 30}, 30 * time.Minute, ""},
		{"a head takes long", &courier{n: 30, cutting: true}, 30 * time.Minute, ""},
		{"a merge takes long", &courier{n: 30, merging: true}, 30 * time.Minute, ""},
		{"the bucket is down", &courier{left: errors.New("bucket down")}, stall, "bucket down"},
		{"the bucket goes down", &courier{n: 3, left: errors.New("bucket down")}, 3*time.Minute + stall, "bucket down"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUploads(tc.courier, &told{}, log.NewNopLogger())
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- u.run(ctx) }()
				synctest.Wait()
				start := time.Now()
				err := u.finish(ctx)
				if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("finish: %v; want %q", err, tc.err)
				}
				if took := time.Since(start); took < tc.took || took > tc.took+3*time.Second {
					t.Errorf("took %v; want %v", took, tc.took)
				}
				if tc.courier.late.Load() {
					t.Error("it was to finish while passes went on")
				}
				select {
				case err := <-ended:
					t.Errorf("the part has ended by itself: %v", err)
				default:
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestUploadsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUploads(&courier{failed: errors.New("broken")}, &told{}, log.NewNopLogger())
		if err := u.run(t.Context()); err == nil {
			t.Error("a failure is not told")
		}
	})
}
