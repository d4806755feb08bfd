package e2e

import (
	"fmt"
	"testing"
	"time"
)

// The network parts three members from the other three for a minute. Each side
// covers all targets, and when the network is whole again all agree within 20 s
// and stop scraping twice within 5 s and an interval more.
func TestPartition(t *testing.T) {
	t.Parallel()
	const members, parted = 6, time.Minute
	lan := newLAN(t, members)
	r := newRig(t, setup{pairs: members, targets: 180, replicas: 1, lan: lan})
	owners := r.up(r.Pairs...)
	left, right := []int{0, 1, 2}, []int{3, 4, 5}

	cut := time.Now()
	if err := lan.partition("add", left, right); err != nil {
		t.Fatal(err)
	}
	r.event("cut")
	covered := r.await(30*time.Second, "covered by both sides", func() error { return r.bothCover(left, right) })
	r.settle(20*time.Second, r.Pairs[:3]...)
	r.settle(20*time.Second, r.Pairs[3:]...)
	r.event("both sides have settled")
	r.watch(parted - time.Since(cut))

	if err := lan.partition("del", left, right); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	r.event("healed")
	settled := r.settle(20*time.Second, r.Pairs...)
	agreed := time.Now()
	after := r.owners()
	r.watch(2 * interval)
	strays := r.farm.Log().Between(agreed, time.Now()).Strays(after)
	double := lastAfter(strays, agreed)
	if most := 5*time.Second + interval; double > most {
		t.Errorf("targets are scraped twice until %s after all agreed, allowed are %s", double, most)
	}
	missed := r.noneMissed(r.targets, cut)
	if moved := movedTargets(owners, after); len(moved) > 0 {
		t.Errorf("after it %d targets have other owners than before", len(moved))
	}
	r.measured("3|3 for %s: both sides cover all %d targets after %s; %s after its end all agree, %s later nothing is scraped twice; %d missed",
		healed.Sub(cut).Round(time.Second), len(r.targets), covered.Round(10*time.Millisecond), settled.Round(10*time.Millisecond), double, missed)
}

// bothCover returns an error unless in the last interval and a half each target
// was scraped by some member of each side.
func (r *rig) bothCover(sides ...[]int) error {
	now := time.Now()
	owners := r.farm.Log().Between(now.Add(-interval*3/2), now).Owners()
	for _, side := range sides {
		names := map[string]bool{}
		for _, i := range side {
			names[r.Pairs[i].Name] = true
		}
		for _, target := range r.targets {
			covered := false
			for _, owner := range owners[target] {
				covered = covered || names[owner]
			}
			if !covered {
				return fmt.Errorf("%s is not covered by %v", target, side)
			}
		}
	}
	return nil
}
