package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// interval is the scrape interval of all scenarios, I in the bounds.
const interval = 2 * time.Second

// setup says what a scenario runs on.
type setup struct {
	pairs, targets, replicas int
	lan                      *lan   // nil for loopback
	source                   string // "" for fileSource
	sourceFile               string
}

// rig is a fleet, a farm whose targets it scrapes, and the test that watches
// them.
type rig struct {
	*testing.T
	*Fleet
	farm     *farm
	targets  []string
	replicas int
	started  time.Time
}

var rigs atomic.Int64

// newRig makes what s says and starts nothing but the farm. Where the scenario
// fails, the directory with all logs stays, and their ends are shown.
func newRig(t *testing.T, s setup) *rig {
	t.Helper()
	ringside, prometheus := os.Getenv("RINGSIDE"), os.Getenv("PROMETHEUS")
	if ringside == "" || prometheus == "" {
		t.Skip("SKIP: scenarios need real servers: run make e2e, or set RINGSIDE= and PROMETHEUS= to the absolute paths of the binaries")
	}
	dir, err := os.MkdirTemp("", "ringside-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, replicas: s.replicas, started: time.Now()}
	cfg := FleetConfig{
		Dir: dir, Ringside: ringside, Prometheus: prometheus,
		Cluster: fmt.Sprintf("e2e-%d-%d", os.Getpid(), rigs.Add(1)),
		Source:  s.source, SourceFile: s.sourceFile,
		Scrape: fmt.Sprintf("replicas: %d", s.replicas),
	}
	if cfg.Source == "" {
		cfg.Source = fileSource(interval)
	}
	r.place(&cfg, s)
	if r.Fleet, err = NewFleet(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.showStatus()
		}
		r.Fleet.Close()
		r.showLogs(dir)
	})
	r.watchClock()
	r.discover(r.targets)
	return r
}

// place finds sites for the fleet and starts the farm where they reach it.
func (r *rig) place(cfg *FleetConfig, s setup) {
	r.Helper()
	listen, network, err := listenLoopback, "127.7", error(nil)
	if s.lan != nil {
		listen, network = s.lan.listen, hubNetwork
		cfg.Sites, cfg.Client, cfg.Key = s.lan.sites(), s.lan.client(), gossipKey()
	} else if cfg.Sites, err = LoopbackSites(s.pairs, NewProcesses(), false); err != nil {
		r.Fatal(err)
	}
	ln, err := listen()
	if err != nil {
		r.Fatal(err)
	}
	if r.farm, err = newFarm(ln); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { r.farm.Close() })
	r.targets = r.farm.Targets(network, s.targets)
}

// discover makes targets those that all discoveries find.
func (r *rig) discover(targets []string) {
	r.Helper()
	r.farm.Offer(targets)
	for _, p := range r.Pairs {
		beside, err := filepath.Rel(p.Dir, filepath.Dir(p.source))
		if err != nil {
			r.Fatal(err)
		}
		if err := p.WriteFile(filepath.Join(beside, "sd", "farm.json"), fileSD(targets)); err != nil {
			r.Fatal(err)
		}
	}
}

// up starts pairs, waits until they have settled and the farm sees it, and
// returns the owners of each target.
func (r *rig) up(pairs ...*Pair) map[string][]string {
	r.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(r.Context(), time.Minute, fmt.Errorf("a minute is over"))
	defer cancel()
	if err := r.Start(ctx, pairs...); err != nil {
		r.Fatal(err)
	}
	r.settle(30*time.Second, r.running()...)
	owners := r.owners()
	r.event("up: %d pairs settled %s after their start, owners %s", len(pairs), since(began), shares(owners))
	return owners
}

// running returns the pairs both of whose programs run.
func (r *rig) running() []*Pair {
	var running []*Pair
	for _, p := range r.Pairs {
		if p.Sidecar.Running() && p.Prometheus.Running() {
			running = append(running, p)
		}
	}
	return running
}

// settle waits until exactly pairs are active, agree and have applied it, and
// returns how long that took.
func (r *rig) settle(within time.Duration, pairs ...*Pair) time.Duration {
	r.Helper()
	return r.await(within, "settled", func() error { return Settled(r.Context(), pairs) })
}

// await polls try, fails the test when it has not succeeded within the time, and
// returns how long it took.
func (r *rig) await(within time.Duration, what string, try func() error) time.Duration {
	r.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(r.Context(), within, fmt.Errorf("not %s within %s", what, within))
	defer cancel()
	if err := poll(ctx, try); err != nil {
		r.Fatal(err)
	}
	return time.Since(began)
}

// owners waits until every target has been scraped by exactly as many pairs as
// there are replicas, for an interval and a half, and returns who they are.
func (r *rig) owners() map[string][]string {
	r.Helper()
	var owners map[string][]string
	r.await(20*time.Second, "scraped by the right number of members", func() error {
		now := time.Now()
		owners = r.farm.Log().Between(now.Add(-interval*3/2), now).Owners()
		return exactly(owners, r.targets, r.replicas)
	})
	return owners
}

// exactly returns an error unless each of targets, and nothing else, has
// exactly n owners.
func exactly(owners map[string][]string, targets []string, n int) error {
	wrong := 0
	example := ""
	for _, target := range targets {
		if got := owners[target]; len(got) != n {
			wrong++
			example = fmt.Sprintf("%s by %v", target, got)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d targets are not scraped by exactly %d, such as %s", wrong, len(targets), n, example)
	}
	if len(owners) > len(targets) {
		return fmt.Errorf("%d targets are scraped, there should be %d", len(owners), len(targets))
	}
	return nil
}

// owned returns the targets that pair owns, sorted.
func owned(owners map[string][]string, pair *Pair) []string {
	var targets []string
	for target, names := range owners {
		if slices.Contains(names, pair.Name) {
			targets = append(targets, target)
		}
	}
	slices.Sort(targets)
	return targets
}

// shares says how many targets each pair owns.
func shares(owners map[string][]string) string {
	count := map[string]int{}
	for _, names := range owners {
		for _, name := range names {
			count[name]++
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		out = append(out, fmt.Sprintf("%s=%d", name, count[name]))
	}
	return strings.Join(out, " ")
}

// noneMissed fails the test when any of targets was missed since from. It
// returns how many were, to measure by.
func (r *rig) noneMissed(targets []string, from time.Time) int {
	r.Helper()
	gaps := r.farm.Log().Gaps(targets, from, time.Now(), interval)
	if len(gaps) == 0 {
		return 0
	}
	worst := slices.MaxFunc(gaps, func(a, b gap) int { return int(a.To.Sub(a.From) - b.To.Sub(b.From)) })
	r.Errorf("%d missed: the worst is %s from %s for %s",
		len(gaps), worst.Target, r.clock(worst.From), worst.To.Sub(worst.From))
	for _, s := range r.farm.Log().Between(worst.From.Add(-3*interval), worst.To.Add(3*interval)) {
		if s.Target == worst.Target {
			r.Logf("  %s scraped it at %s", s.Scraper, r.clock(s.Time))
		}
	}
	return len(gaps)
}

// quiet lets so much time go by that Prometheus takes the next change of its
// target files at once: of those that follow one another it takes one in 5 s.
func (r *rig) quiet() { r.watch(6 * time.Second) }

// watch lets d go by while nothing should happen.
func (r *rig) watch(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// event logs what happens, with the time since the rig was made.
func (r *rig) event(format string, args ...any) {
	r.Helper()
	r.Logf("%s %s", r.clock(time.Now()), fmt.Sprintf(format, args...))
}

// measured logs a figure that the documentation may quote.
func (r *rig) measured(format string, args ...any) {
	r.Helper()
	r.Logf("MEASURED %s: %s", strings.ReplaceAll(strings.TrimPrefix(r.Name(), "Test"), "_", " "), fmt.Sprintf(format, args...))
}

func (r *rig) clock(t time.Time) string {
	return fmt.Sprintf("[%7.3fs]", t.Sub(r.started).Seconds())
}

// since returns the time since t as people read it.
func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }

// spread says how durations lie: median, 99th percentile and maximum.
func spread(d map[string]time.Duration) string {
	values := slices.Collect(maps.Values(d))
	var out []string
	for _, q := range []struct {
		name string
		q    float64
	}{{"median", 0.5}, {"p99", 0.99}, {"max", 1}} {
		out = append(out, fmt.Sprintf("%s %s", q.name, quantile(values, q.q).Round(10*time.Millisecond)))
	}
	return fmt.Sprintf("%s of %d", strings.Join(out, ", "), len(values))
}

// watchClock logs at the end when this program itself was held up for so long
// that the scenario's times cannot be trusted.
func (r *rig) watchClock() {
	const every, tooLong = 50 * time.Millisecond, interval / 4
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			if held := time.Since(last) - every; held > tooLong {
				r.event("the machine held this program up for %s", held)
			}
			last = time.Now()
		}
	}()
	r.Cleanup(func() { close(stop); <-stopped })
}

// showStatus logs what the sidecars say of the cluster.
func (r *rig) showStatus() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, p := range r.Pairs {
		if !p.Sidecar.Running() {
			r.Logf("%s does not run", p.Sidecar.Name)
			continue
		}
		body, err := p.Ask(ctx, "/api/v1/status/cluster")
		r.Logf("%s: %s (error: %v)", p.Name, body, err)
	}
}

// showLogs logs the ends of all logs when the test has failed, of Prometheus
// only what is worse than information, and removes dir when it has not.
func (r *rig) showLogs(dir string) {
	if !r.Failed() {
		os.RemoveAll(dir)
		return
	}
	r.Logf("all files of this scenario are in %s", dir)
	for _, p := range r.Pairs {
		for _, u := range []*Unit{p.Sidecar, p.Prometheus} {
			text, _ := os.ReadFile(u.Command.Log) // a program that never ran has none
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "level=INFO source=") })
			lines = lines[max(0, len(lines)-25):]
			r.Logf("%s, the end of its log:\n\t%s", u.Name, strings.Join(lines, "\n\t"))
		}
	}
}
