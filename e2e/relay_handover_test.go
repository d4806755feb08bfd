package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// farmSeries is how many series each target of the farm has, those that
// Prometheus adds among them.
const farmSeries = 8

// A second member takes half of the targets over. For the upstream that drops
// the replica label, both write the same series: there the markers that the first
// one writes of what it has let go must not cut a gap into what the second one
// writes, though this receiver takes samples late. For the one that keeps the
// label they pass, and so do those of a target that is gone.
func TestRelayHandOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 2, targets: 60, replicas: 1})
	keep := r.prometheus(r.beside("keep"), "global: {}\n")
	drop := r.prometheus(r.beside("drop"), "storage: {tsdb: {out_of_order_time_window: 5m}}\n")
	r.launch(keep)
	r.launch(drop)
	r.relayTo(fmt.Sprintf(`- name: keep
  endpoints: [%s/api/v1/write]
- name: drop
  endpoints: [%s/api/v1/write]
  replica_label: drop
`, keep.URL, drop.URL))
	first, second := r.Pairs[0], r.Pairs[1]
	before := r.up(first)
	r.watch(3 * interval)

	from := time.Now()
	moved := movedTargets(before, r.up(second))
	r.event("%d targets moved", len(moved))
	suppressed := 0
	r.await(40*time.Second, "suppressed", func() error {
		n, err := first.Metric(t.Context(), `ringside_relay_samples_total{outcome="suppressed",upstream="drop"}`)
		if suppressed = int(n); err == nil && suppressed < farmSeries*len(moved) {
			err = fmt.Errorf("%d markers are suppressed", suppressed)
		}
		return err
	})
	if suppressed > farmSeries*len(moved) {
		t.Errorf("%d markers suppressed for %d targets", suppressed, len(moved))
	}
	r.watch(2 * interval)
	to := time.Now()
	r.goesOn(drop, moved, from, to)
	r.endsWithMarkers(keep, first, moved)
	r.noMarkers(keep, second)

	gone := r.targets[len(r.targets)-1]
	r.targets = slices.Clone(r.targets[:len(r.targets)-1])
	r.discover(r.targets)
	marked := r.await(40*time.Second, "marked as stale", func() error {
		markers := 0
		for _, samples := range r.seriesOf(drop, []string{gone}) {
			markers += count(samples, stale)
		}
		if markers != farmSeries {
			return fmt.Errorf("%d series of %s are marked", markers, gone)
		}
		return nil
	})
	r.measured("%d of %d targets handed over: %d stale markers suppressed, no gap without the replica label; with it all markers passed; those of a target that was gone after %s",
		len(moved), len(before), suppressed, marked.Round(10*time.Millisecond))
}

// seriesOf returns all that the receiver holds of targets.
func (r *rig) seriesOf(receiver *Unit, targets []string) stored {
	r.Helper()
	all, err := readAll(r.Context(), receiver.URL, span{r.started.UnixMilli(), time.Now().UnixMilli()}, nil)
	if err != nil {
		r.Fatal(err)
	}
	for series := range all {
		if !slices.ContainsFunc(targets, func(target string) bool { return strings.Contains(series, fmt.Sprintf("%q:%q", "instance", target)) }) {
			delete(all, series)
		}
	}
	return all
}

// goesOn fails the test unless each series of targets has been written all the
// time between from and to, and not one marker of them.
func (r *rig) goesOn(receiver *Unit, targets []string, from, to time.Time) {
	r.Helper()
	r.await(20*time.Second, "without a gap", func() error {
		all := r.seriesOf(receiver, targets)
		if len(all) != farmSeries*len(targets) {
			return fmt.Errorf("%d series of %d targets", len(all), len(targets))
		}
		for series, samples := range all {
			if n := count(samples, stale); n > 0 {
				return final(fmt.Errorf("%d stale markers in %s", n, series))
			}
			if gap := longestGap(samples, from, to); gap >= interval*3/2 {
				return fmt.Errorf("a gap of %s in %s", gap, series)
			}
		}
		return nil
	})
}

// longestGap returns the longest time between two samples that follow each
// other, of those between from and to, and of these.
func longestGap(samples map[int64]string, from, to time.Time) (longest time.Duration) {
	times := []int64{from.UnixMilli(), to.UnixMilli()}
	for at := range samples {
		if times[0] < at && at < times[1] {
			times = append(times, at)
		}
	}
	slices.Sort(times)
	for i := range times[1:] {
		longest = max(longest, time.Duration(times[i+1]-times[i])*time.Millisecond)
	}
	return longest
}

// endsWithMarkers fails the test unless each series of targets by the pair ends
// with a stale marker.
func (r *rig) endsWithMarkers(receiver *Unit, by *Pair, targets []string) {
	r.Helper()
	r.await(20*time.Second, "marked as stale", func() error {
		marked := 0
		for series, samples := range r.seriesOf(receiver, targets) {
			if !strings.Contains(series, fmt.Sprintf("%q:%q", replicaLabel, by.Name)) {
				continue
			}
			newest := int64(0)
			for at := range samples {
				newest = max(newest, at)
			}
			if samples[newest] != stale {
				return fmt.Errorf("%s does not end with a stale marker", series)
			}
			marked++
		}
		if marked != farmSeries*len(targets) {
			return fmt.Errorf("%d series are marked", marked)
		}
		return nil
	})
}

// noMarkers fails the test when a series by the pair has a stale marker.
func (r *rig) noMarkers(receiver *Unit, by *Pair) {
	r.Helper()
	for series, samples := range r.seriesOf(receiver, r.targets) {
		if strings.Contains(series, fmt.Sprintf("%q:%q", replicaLabel, by.Name)) && count(samples, stale) > 0 {
			r.Errorf("a stale marker in %s", series)
		}
	}
}

// count returns how many samples have the value.
func count(samples map[int64]string, value string) (n int) {
	for _, v := range samples {
		if v == value {
			n++
		}
	}
	return n
}
