package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// A pair leaves for good. However it is asked to, nothing is missed.
func TestDrain(t *testing.T) {
	for name, leave := range map[string]func(*rig, *Pair){
		"preStop hook, then SIGTERM to both": (*rig).drainAndStop,
		"SIGTERM to the sidecar first":       (*rig).stopSidecarFirst,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
			owners := r.up(r.Pairs...)
			leaver := r.Pairs[1]
			had := owned(owners, leaver)

			from := time.Now()
			leave(r, leaver)
			left := since(from)
			r.settle(20*time.Second, r.running()...)
			after := r.owners()
			r.watch(2 * interval)
			if moved := movedTargets(owners, after); len(moved) != len(had) {
				t.Errorf("%d targets moved, the leaver had %d", len(moved), len(had))
			}
			r.measured("%d targets handed over and both gone after %s, %d missed", len(had), left, r.noneMissed(r.targets, from))
		})
	}
}

// drainAndStop does what Kubernetes does with a pod that has a preStop hook.
func (r *rig) drainAndStop(p *Pair) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Sidecar.URL+"/-/drain", nil)
	if err != nil {
		r.Fatal(err)
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		r.Fatalf("drain %s: %s", p.Name, resp.Status)
	}
	r.event("drained %s in %s", p.Name, since(began))
	r.terminate(ctx, p.Sidecar, p.Prometheus)
}

// stopSidecarFirst ends the sidecar, which drains, and then Prometheus.
func (r *rig) stopSidecarFirst(p *Pair) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	if err := p.Sidecar.Signal(syscall.SIGTERM); err != nil {
		r.Fatal(err)
	}
	// Once the sidecar has let go, and not before, Prometheus may end: the
	// sidecar then waits for it for as long as shutdown_wait says.
	r.await(30*time.Second, "gone from the cluster", func() error {
		return errors.Join(r.stateIs(r.Pairs[0], p, "left"), r.stateIs(r.Pairs[2], p, "left"))
	})
	r.event("%s left after %s", p.Sidecar.Name, since(began))
	r.terminate(ctx, p.Prometheus)
	if err := p.Sidecar.Wait(ctx); err != nil {
		r.Error(err)
	}
}

// terminate sends SIGTERM to all units at the same time and waits for them to
// end, with exit status 0.
func (r *rig) terminate(ctx context.Context, units ...*Unit) {
	r.Helper()
	for _, u := range units {
		if err := u.Signal(syscall.SIGTERM); err != nil {
			r.Fatal(err)
		}
	}
	for _, u := range units {
		if err := u.Wait(ctx); err != nil {
			r.Error(err)
		}
	}
}

// Every pair is restarted in its turn, as a StatefulSet does on an update.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
	before := r.up(r.Pairs...)
	from := time.Now()
	for _, p := range r.Pairs {
		r.drainAndStop(p)
		r.up(p)
	}
	took := since(from)
	after := r.owners()
	r.watch(2 * interval)
	missed := r.noneMissed(r.targets, from)
	if moved := movedTargets(before, after); len(moved) > 0 {
		t.Errorf("after it %d targets have other owners than before", len(moved))
	}
	log := r.farm.Log().Between(from, time.Now())
	r.measured("%d pairs in %s: %d missed, %d scrapes; scraped by two for: %s",
		len(r.Pairs), took, missed, len(log), spread(log.Doubled(1, interval)))
}

// A pod without a preStop hook: SIGTERM reaches both programs at once. That
// cannot be seamless, but nobody has to detect anything.
func TestTerminateBoth(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
	owners := r.up(r.Pairs...)
	leaver := r.Pairs[1]
	lost := owned(owners, leaver)
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()

	r.quiet()
	from := time.Now()
	if err := errors.Join(leaver.Prometheus.Signal(syscall.SIGTERM), leaver.Sidecar.Signal(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	again := r.scrapedAgain(lost, leaver, from)
	r.withinCrashBounds(again)
	if err := leaver.Prometheus.Wait(ctx); err != nil {
		t.Error(err)
	}
	ended := leaver.Sidecar.Wait(ctx) // with either status: it may have been left with targets
	r.settle(20*time.Second, r.running()...)
	r.noneMissed(without(r.targets, lost), from)
	r.measured("%d targets, scraped again after %s; the sidecar ended with: %s", len(lost), spread(again), fmt.Sprint(ended))
}
