package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Unit is one program of a pair, which may be started, ended and started again.
type Unit struct {
	Name    string // as in "pair-0/ringside"
	URL     string // of its HTTP server, no slash at the end
	Command Command
	driver  Driver

	mtx  sync.Mutex
	proc Process
	done chan struct{} // closed once proc has ended
}

// Start starts the program and returns at once; it is an error while it runs.
func (u *Unit) Start() error {
	u.mtx.Lock()
	defer u.mtx.Unlock()
	if u.running() {
		return fmt.Errorf("start %s: it runs already", u.Name)
	}
	proc, err := u.driver.Start(u.Command)
	if err != nil {
		return fmt.Errorf("start %s: %w", u.Name, err)
	}
	done := make(chan struct{})
	go func() {
		proc.Wait()
		close(done)
	}()
	u.proc, u.done = proc, done
	return nil
}

// Running says whether the program has been started and has not ended since. A
// paused one runs.
func (u *Unit) Running() bool {
	u.mtx.Lock()
	defer u.mtx.Unlock()
	return u.running()
}

func (u *Unit) running() bool {
	if u.proc == nil {
		return false
	}
	select {
	case <-u.done:
		return false
	default:
		return true
	}
}

// Signal sends sig: syscall.SIGSTOP pauses the program, SIGCONT lets it go on.
func (u *Unit) Signal(sig syscall.Signal) error {
	u.mtx.Lock()
	defer u.mtx.Unlock()
	if !u.running() {
		return fmt.Errorf("signal %s to %s: it does not run", sig, u.Name)
	}
	return u.proc.Signal(sig)
}

// Kill ends the program as kill -9 does and returns when it has gone. Of one
// that does not run it is a no-op.
func (u *Unit) Kill() {
	if u.Signal(syscall.SIGKILL) == nil {
		<-u.done
	}
}

// Wait blocks until the program has ended and says how: nil for exit status 0
// and for one that was never started. When ctx ends first it gives up.
func (u *Unit) Wait(ctx context.Context) error {
	u.mtx.Lock()
	proc, done := u.proc, u.done
	u.mtx.Unlock()
	if proc == nil {
		return nil
	}
	select {
	case <-done:
		if err := proc.Wait(); err != nil {
			return fmt.Errorf("%s ended: %w", u.Name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", u.Name, context.Cause(ctx))
	}
}

// awaitReady polls path until it answers 200, the program ends, or ctx does.
func (u *Unit) awaitReady(ctx context.Context, client *http.Client, path string) error {
	return poll(ctx, func() error {
		if !u.Running() {
			return final(fmt.Errorf("%s ended; the last line of %s: %s", u.Name, u.Command.Log, u.lastLine()))
		}
		_, err := fetch(ctx, client, u.URL+path)
		return err
	})
}

// lastLine returns the last line of the program's log, if there is one.
func (u *Unit) lastLine() string {
	text, err := os.ReadFile(u.Command.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// pollEvery is how long poll rests between two tries.
const pollEvery = 50 * time.Millisecond

// poll tries until it returns nil or a final error, and gives up with its last
// error when ctx ends.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		var stop finalError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &stop):
			return stop.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: last seen: %w", context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

// final marks an error that trying again cannot mend, for poll.
func final(err error) error { return finalError{err} }

type finalError struct{ error }
