package e2e

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// demoInterval is the demo's scrape interval.
	demoInterval = 5 * time.Second
	// demoCopies is how often each sample is stored before blocks are uploaded: in each Receive.
	demoCopies = 2
)

// demoTargets are how many targets each job of the demo has.
var demoTargets = map[string]int{"ledger": 60, "thanos": 5, "alertmanager": 1, "ringside": 3, "prometheus": 3}

// The demo of examples/compose keeps what its README says: Thanos Query has every
// target's samples exactly once, while nothing happens, after a pair has been
// killed, and once its blocks are in the bucket as well. Nothing that was scraped
// is lost.
func TestComposeDemo(t *testing.T) {
	c := newComposed(t)
	c.settle(time.Minute, c.Pairs...)
	c.event("up: three pairs have settled")
	targets := c.scraped()
	steady := c.exactlyOnce(targets, 30*time.Second)
	if n := c.count(`count(up)`, false); n != demoCopies*len(targets) {
		t.Errorf("without de-duplication there are %d series, not %d of each of the %d targets", n, demoCopies, len(targets))
	}
	c.wired()
	c.hardened()

	victim, others := c.Pairs[1], []*Pair{c.Pairs[0], c.Pairs[2]}
	lost, own := c.held(victim), own(victim)
	killed := c.kill(victim)
	c.settle(20*time.Second, others...)
	c.again(lost, killed)
	c.exactlyOnce(without(targets, own), 20*time.Second)

	c.compose("up", "--detach")
	c.settle(time.Minute, c.Pairs...)
	c.event("%s is back", victim.Name)
	drained := c.leave(victim)
	c.settle(20*time.Second, others...)
	c.restart("store", "compact")
	c.uploaded(victim, steady)
	c.onceOf(targets, steady)
	c.nothingLost(without(targets, own), lost, period{steady.from, drained}, killed)

	c.move(c.Pairs[0])
	c.exactlyOnce(targets, 20*time.Second)
	c.onceOf(targets, steady) // data stays
	c.wired()
}

// period is a time that is looked at.
type period struct{ from, to time.Time }

// eventually is await for what takes a query, which is asked twice a second.
func (c *composed) eventually(within time.Duration, what string, try func() error) {
	c.Helper()
	c.await(within, what, func() error {
		err := try()
		if err != nil {
			c.watch(500 * time.Millisecond)
		}
		return err
	})
}

// scraped waits until Query has every target, and returns them: job/instance.
func (c *composed) scraped() []string {
	c.Helper()
	var targets []string
	c.eventually(30*time.Second, "scraped", func() error {
		now := time.Now()
		log, err := c.history(period{now.Add(-2 * demoInterval), now}, true)
		if err != nil {
			return err
		}
		targets = slices.Sorted(maps.Keys(log.Owners()))
		byJob := map[string]int{}
		for _, target := range targets {
			job, _, _ := strings.Cut(target, "/")
			byJob[job]++
		}
		if !maps.Equal(byJob, demoTargets) {
			return fmt.Errorf("targets of jobs in Query: %v, not %v", byJob, demoTargets)
		}
		return nil
	})
	return targets
}

// history returns the samples of up that Query has. Without de-duplication their
// scraper is the member's name and where the sample is: in a Receive, by its
// name, or in a block.
func (c *composed) history(in period, dedup bool) (scrapeLog, error) {
	answer, err := ask(c.Context(), c.query, fmt.Sprintf("up[%dms]", in.to.Sub(in.from).Milliseconds()), in.to.UnixMilli(), dedup)
	if err != nil {
		return nil, err
	}
	var log scrapeLog
	seen := map[string]bool{}
	for _, series := range answer {
		target := series.Metric["job"] + "/" + series.Metric["instance"]
		scraper := ""
		if !dedup {
			scraper = series.Metric[replicaLabel] + " in " + series.Metric["receive"]
		}
		if seen[target+scraper] {
			return nil, fmt.Errorf("Query has %s twice: %v", target, series.Metric)
		}
		seen[target+scraper] = true
		for _, v := range series.Values {
			log = append(log, scrape{time.UnixMilli(v.time()), target, scraper})
		}
	}
	slices.SortFunc(log, func(a, b scrape) int { return a.Time.Compare(b.Time) })
	return log, nil
}

// exactlyOnce lets so much time go by, from when all hand-overs are through, and
// fails the test unless Query has every sample of it once. It returns that time.
func (c *composed) exactlyOnce(targets []string, d time.Duration) period {
	c.Helper()
	from := time.Now().Add(2 * demoInterval)
	in := period{from, from.Add(d)}
	c.watch(time.Until(in.to))
	c.onceOf(targets, in)
	c.measured("each of %d targets has its samples exactly once over %s", len(targets), d)
	return in
}

func (c *composed) onceOf(targets []string, in period) {
	c.Helper()
	c.eventually(30*time.Second, "in Query exactly once", func() error {
		log, err := c.history(in, true)
		if err != nil {
			return err
		}
		if gaps := log.Gaps(targets, in.from, in.to, demoInterval); len(gaps) > 0 {
			return fmt.Errorf("%d missed, such as %v", len(gaps), gaps[0])
		}
		samples, most := map[string]int{}, int(in.to.Sub(in.from)/demoInterval)+1
		for _, s := range log {
			if samples[s.Target]++; samples[s.Target] > most {
				return fmt.Errorf("%s has more than %d samples", s.Target, most)
			}
		}
		if len(samples) != len(targets) {
			return fmt.Errorf("%d targets have samples, not %d", len(samples), len(targets))
		}
		return nil
	})
}

// count returns the value of a query with one result.
func (c *composed) count(query string, dedup bool) int {
	c.Helper()
	answer, err := ask(c.Context(), c.query, query, time.Now().UnixMilli(), dedup)
	if err != nil {
		c.Fatal(err)
	}
	if len(answer) != 1 {
		return 0
	}
	n, err := answer[0].Value.float()
	if err != nil {
		c.Fatal(err)
	}
	return int(math.Round(n))
}

// wired fails the test unless the rest of the demo is where it belongs.
func (c *composed) wired() {
	c.Helper()
	for query, want := range map[string]int{
		`count(prometheus_notifications_alertmanagers_discovered == 1)`:   3,
		`count(prometheus_rule_group_rules{rule_group=~".*;ledger"} > 0)`: 3,
		`count(thanos_compact_halted == 0)`:                               1,
		`count(up == 1)`:                                                  sum(demoTargets),
		// The dashboards link to what instance says.
		`count(ringside_build_info{instance=~"pair-[0-2][.]localhost:959[0-2]"})`: 3,
	} {
		if got := c.count(query, true); got != want {
			c.Errorf("%s is %d, not %d", query, got, want)
		}
	}
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// own are the targets in the pair itself: job/instance.
func own(p *Pair) []string {
	return []string{"prometheus/" + p.Name, "ringside/" + p.Name + ".localhost:959" + strings.TrimPrefix(p.Name, "pair-")}
}

// held returns the targets that the pair scrapes, but not its own.
func (c *composed) held(p *Pair) []string {
	c.Helper()
	list, err := p.Targets(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	var held []string
	for _, target := range list {
		name := target.Job + "/" + target.Labels["instance"]
		if target.Local && !slices.Contains(own(p), name) {
			held = append(held, name)
		}
	}
	return held
}

// kill ends both programs of a pair by SIGKILL and returns when they had ended.
func (c *composed) kill(p *Pair) time.Time {
	c.Helper()
	c.compose(append([]string{"kill"}, c.containers(p)...)...)
	var last time.Time
	for _, text := range c.inspect(p, "FinishedAt") {
		ended, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			c.Fatal(err)
		}
		if ended.After(last) {
			last = ended
		}
	}
	c.event("killed %s", p.Name)
	return last
}

// again fails the test unless Query has new samples of targets that were lost.
func (c *composed) again(lost []string, killed time.Time) {
	c.Helper()
	var since map[string]time.Duration
	c.eventually(30*time.Second, "scraped again", func() error {
		log, err := c.history(period{killed, time.Now()}, true)
		if err != nil {
			return err
		}
		since = log.Since(killed)
		for _, target := range lost {
			if _, ok := since[target]; !ok {
				return fmt.Errorf("%s has no sample since the kill", target)
			}
		}
		return nil
	})
	maps.DeleteFunc(since, func(target string, _ time.Duration) bool { return !slices.Contains(lost, target) })
	c.measured("after kill -9 of a pair, its targets are scraped again after: %s", spread(since))
}

// leave does with a pair what a pod's preStop hook and its end do, and returns
// when it was done.
func (c *composed) leave(p *Pair) time.Time {
	c.Helper()
	if _, err := fetch(c.Context(), &http.Client{Timeout: time.Minute}, p.Sidecar.URL+"/-/drain"); err != nil {
		c.Fatal(err)
	}
	c.event("%s has handed its targets over", p.Name)
	began := time.Now()
	c.compose(append([]string{"stop"}, c.containers(p)...)...)
	if status := c.inspect(p, "ExitCode"); !slices.Equal(status, []string{"0", "0"}) {
		c.Errorf("%s ended with the exit statuses %v", p.Name, status)
	}
	c.measured("a drained pair with its head in the bucket has gone after %s", since(began))
	return time.Now()
}

// restart starts services of Thanos again, as after a crash, and waits until they
// have been scraped.
func (c *composed) restart(services ...string) {
	c.Helper()
	c.compose(append([]string{"restart"}, services...)...)
	query := fmt.Sprintf(`count(changes(process_start_time_seconds{instance=~"(%s):10902"}[1m]) > 0)`, strings.Join(services, "|"))
	c.eventually(30*time.Second, "started again", func() error {
		if n := c.count(query, true); n != len(services) {
			return fmt.Errorf("%d of %v run again", n, services)
		}
		return nil
	})
}

// move gives the pair's sidecar another port of the host, as the README says.
func (c *composed) move(p *Pair) {
	c.Helper()
	port, err := freePorts.take(1)
	if err != nil {
		c.Fatal(err)
	}
	variable := "RINGSIDE_" + strings.TrimPrefix(p.Name, "pair-") + "_PORT"
	c.env = append(c.env, fmt.Sprintf("%s=%d", variable, port[0])) // the last one counts
	p.Sidecar.URL = fmt.Sprintf("http://127.0.0.1:%d", port[0])
	c.compose("down")
	c.compose("up", "--detach")
	c.settle(time.Minute, c.Pairs...)
	c.event("%s has another port, and all have settled", p.Name)
}

// uploaded waits until Thanos Store has blocks of the pair with samples of that
// time, of everything that both Receives have of it.
func (c *composed) uploaded(p *Pair, in period) {
	c.Helper()
	c.eventually(time.Minute, "in blocks", func() error {
		log, err := c.history(in, false)
		if err != nil {
			return err
		}
		copies := map[string]int{}
		for _, s := range log {
			if place, ok := strings.CutPrefix(s.Scraper, p.Name+" in "); ok {
				copies[place]++
			}
		}
		if blocks := copies[""]; blocks == 0 || blocks < max(copies["0"], copies["1"]) {
			return fmt.Errorf("of %s there are %d samples in blocks, and %d and %d in the Receives", p.Name, blocks, copies["0"], copies["1"])
		}
		return nil
	})
}

// nothingLost fails the test when a sample is missing between the first look and
// the last: only a killed pair's targets may be, and those for no longer than
// heirs take.
func (c *composed) nothingLost(targets, lost []string, in period, killed time.Time) {
	c.Helper()
	const bound = 6*time.Second + 2*demoInterval // from the last scrape before to the first after
	var log scrapeLog
	var gaps []gap
	c.eventually(30*time.Second, "whole", func() (err error) {
		if log, err = c.history(in, true); err != nil {
			return err
		}
		gaps = log.Gaps(targets, in.from, in.to, demoInterval)
		for _, g := range gaps {
			ofKill := slices.Contains(lost, g.Target) && g.From.Before(killed) && g.To.After(killed)
			if !ofKill || g.To.Sub(g.From) > bound {
				return fmt.Errorf("%s has no samples from %s to %s; the kill was at %s", g.Target, c.clock(g.From), c.clock(g.To), c.clock(killed))
			}
		}
		return nil
	})
	c.measured("of %d samples in %s, with a kill, a return and a drain, %d targets missed some, all at the kill",
		len(log), in.to.Sub(in.from).Round(time.Second), len(gaps))
}
