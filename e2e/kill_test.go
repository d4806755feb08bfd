package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A pair is killed. Its targets must be scraped again within the bounds for a
// crash: the median within 5 s and half an interval, the 99th percentile within
// 6 s and an interval. With two replicas nothing may be missed. Where the time
// counts nothing else runs beside it.
func TestKillPair(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprintf("replicas %d", replicas), func(t *testing.T) {
			if replicas > 1 {
				t.Parallel()
			}
			r := newRig(t, setup{pairs: 3, targets: 180, replicas: replicas})
			owners := r.up(r.Pairs...)
			victim := r.Pairs[1]
			lost := owned(owners, victim)

			r.quiet()
			killed := time.Now()
			victim.Kill()
			r.event("killed %s, which had %d targets", victim.Name, len(lost))
			again := r.scrapedAgain(lost, victim, killed)
			r.settle(20*time.Second, r.running()...)
			settled := since(killed)
			r.owners()
			if replicas == 1 {
				r.withinCrashBounds(again)
				r.noneMissed(without(r.targets, lost), killed)
			} else {
				r.noneMissed(r.targets, killed)
			}
			r.measured("%d of %d targets lost, scraped again after %s; %d missed; settled after %s", len(lost), len(r.targets),
				spread(again), len(r.farm.Log().Gaps(r.targets, killed, time.Now(), interval)), settled)

			back := time.Now()
			after := r.up(victim)
			r.noneMissed(r.targets, back)
			if moved := movedTargets(owners, after); len(moved) > 0 {
				t.Errorf("after its return %d targets have other owners than before", len(moved))
			}
		})
	}
}

// scrapedAgain waits until each of targets has been scraped by somebody else
// than gone, and returns how long after t that was.
func (r *rig) scrapedAgain(targets []string, gone *Pair, t time.Time) map[string]time.Duration {
	r.Helper()
	var again map[string]time.Duration
	r.await(30*time.Second, "scraped again", func() error {
		again = r.farm.Log().Without(gone.Name).Since(t)
		maps.DeleteFunc(again, func(target string, _ time.Duration) bool { return !slices.Contains(targets, target) })
		if len(again) < len(targets) {
			return fmt.Errorf("%d of %d targets of %s are not scraped again", len(targets)-len(again), len(targets), gone.Name)
		}
		return nil
	})
	return again
}

func (r *rig) withinCrashBounds(again map[string]time.Duration) {
	r.Helper()
	for _, bound := range []struct{ q, most time.Duration }{
		{50, 5*time.Second + interval/2},
		{99, 6*time.Second + interval},
	} {
		got := quantile(slices.Collect(maps.Values(again)), float64(bound.q)/100)
		if got > bound.most {
			r.Errorf("%d %% of the targets are scraped again after %s, allowed are %s", bound.q, got, bound.most)
		}
	}
}

func without(targets, some []string) []string {
	return slices.DeleteFunc(slices.Clone(targets), func(t string) bool { return slices.Contains(some, t) })
}

// A sidecar is killed beside its living Prometheus, which is harmless: that goes
// on with the file it has, and heirs scrape too. When the sidecar is back it
// must leave the file alone until it knows, and nobody may lose a target.
func TestKillSidecar(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
	owners := r.up(r.Pairs...)
	victim := r.Pairs[1]
	others := []*Pair{r.Pairs[0], r.Pairs[2]}
	had := owned(owners, victim)

	r.quiet()
	killed := time.Now()
	victim.Sidecar.Kill()
	r.event("killed %s, %d targets", victim.Sidecar.Name, len(had))
	settled := r.settle(20*time.Second, others...)
	adopted := r.scrapedAgain(had, victim, killed)
	r.watch(2 * interval)

	stop := r.guardTargets(victim, had)
	after := r.up(victim)
	stop()
	if moved := movedTargets(owners, after); len(moved) > 0 {
		t.Errorf("after its return %d targets have other owners than before", len(moved))
	}
	r.measured("%d missed; heirs settled after %s and scraped its %d targets after %s",
		r.noneMissed(r.targets, killed), settled.Round(10*time.Millisecond), len(had), spread(adopted))
}

// guardTargets watches the target files of a pair until the returned function
// is called, and fails the test when one of targets is ever in none of them.
func (r *rig) guardTargets(p *Pair, targets []string) func() {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if missing := len(without(targets, r.fileTargets(p))); missing > 0 {
				r.Errorf("%s %d of its %d targets are in no file of %s", r.clock(time.Now()), missing, len(targets), p.Name)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// fileTargets returns the targets in the files of p.
func (r *rig) fileTargets(p *Pair) []string {
	files, err := filepath.Glob(filepath.Join(p.Dir, "run", "targets", "*.json"))
	if err != nil {
		r.Error(err)
	}
	var all []string
	for _, file := range files {
		targets, err := targetsIn(file)
		if err != nil && !os.IsNotExist(err) {
			r.Error(err)
		}
		all = append(all, targets...)
	}
	return all
}

// A Prometheus is killed beside its living sidecar. Heirs adopt its targets
// within the bounds for a crash, and give them back when it has returned. Nothing
// else runs beside it.
func TestKillPrometheus(t *testing.T) {
	r := newRig(t, setup{pairs: 3, targets: 180, replicas: 1})
	owners := r.up(r.Pairs...)
	victim := r.Pairs[1]
	lost := owned(owners, victim)

	r.quiet()
	killed := time.Now()
	victim.Prometheus.Kill()
	r.event("killed %s, which had %d targets", victim.Prometheus.Name, len(lost))
	again := r.scrapedAgain(lost, victim, killed)
	r.withinCrashBounds(again)
	r.noneMissed(without(r.targets, lost), killed)
	r.await(10*time.Second, "unready", func() error { return r.stateIs(r.Pairs[0], victim, "unready") })

	back := time.Now()
	after := r.up(victim)
	if moved := movedTargets(owners, after); len(moved) > 0 {
		t.Errorf("after its return %d targets have other owners than before", len(moved))
	}
	r.measured("%d targets lost, scraped again after %s; %d missed at its return", len(lost), spread(again), r.noneMissed(r.targets, back))
}

// stateIs returns an error unless in the eyes of p, member has the state.
func (r *rig) stateIs(p, member *Pair, state string) error {
	status, err := p.Cluster(r.Context())
	if err != nil {
		return err
	}
	for _, m := range status.Members {
		if m.Name == member.Name && m.State != state {
			return fmt.Errorf("%s sees %s as %s", p.Name, m.Name, m.State)
		}
		if m.Name == member.Name {
			return nil
		}
	}
	return fmt.Errorf("%s does not list %s", p.Name, member.Name)
}

// A sidecar stands still for 30 s. Its Prometheus goes on, so nothing is missed;
// when it goes on too, each target has one scraper again.
func TestPauseSidecar(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
	owners := r.up(r.Pairs...)
	victim := r.Pairs[1]
	r.quiet()
	paused := time.Now()
	r.pause(victim.Sidecar, 30*time.Second)
	resumed := time.Now()
	settled := r.settle(20*time.Second, r.Pairs...)
	after := r.owners()
	if moved := movedTargets(owners, after); len(moved) > 0 {
		t.Errorf("after it went on %d targets have other owners than before", len(moved))
	}
	strays := r.farm.Log().Between(resumed, time.Now()).Strays(after)
	r.measured("%d missed; settled %s after it went on, last double scrape after %s",
		r.noneMissed(r.targets, paused), settled.Round(10*time.Millisecond), lastAfter(strays, resumed))
}

// A Prometheus stands still for 30 s. Its targets go to the heirs as after a
// crash, and come back without a gap.
func TestPausePrometheus(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
	owners := r.up(r.Pairs...)
	victim := r.Pairs[1]
	lost := owned(owners, victim)
	r.quiet()
	paused := time.Now()
	r.pause(victim.Prometheus, 30*time.Second)
	resumed := time.Now()
	again := r.scrapedAgain(lost, victim, paused)
	r.withinCrashBounds(again)
	r.settle(20*time.Second, r.Pairs...)
	after := r.owners()
	r.noneMissed(without(r.targets, lost), paused)
	missed := r.noneMissed(r.targets, resumed)
	if moved := movedTargets(owners, after); len(moved) > 0 {
		t.Errorf("after it went on %d targets have other owners than before", len(moved))
	}
	r.measured("%d targets lost, scraped again after %s; %d missed when it went on", len(lost), spread(again), missed)
}

// pause stops u for d.
func (r *rig) pause(u *Unit, d time.Duration) {
	r.Helper()
	if err := u.Signal(syscall.SIGSTOP); err != nil {
		r.Fatal(err)
	}
	r.event("paused %s", u.Name)
	r.watch(d)
	if err := u.Signal(syscall.SIGCONT); err != nil {
		r.Fatal(err)
	}
	r.event("%s goes on", u.Name)
}

// lastAfter returns how long after t the last scrape of log was.
func lastAfter(log scrapeLog, t time.Time) time.Duration {
	if len(log) == 0 {
		return 0
	}
	return log[len(log)-1].Time.Sub(t).Round(10 * time.Millisecond)
}
