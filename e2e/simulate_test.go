package e2e

import (
	"encoding/json"
	"maps"
	"os/exec"
	"testing"
	"time"
)

// simulated is what ringside simulate --output=json says, as far as it is used here.
type simulated struct {
	Moved     int
	Strays    int
	Differing int
	Members   []struct {
		Name    string
		Targets struct{ Before, After int }
	}
}

// simulate asks the sidecar of pair-0, and returns the targets of each member
// before and after the change.
func (r *rig) simulate(args ...string) (said simulated, before, after map[string]int) {
	r.Helper()
	sidecar := r.Pairs[0].Sidecar
	cmd := exec.CommandContext(r.Context(), sidecar.Command.Path, append([]string{"simulate", "--url=" + sidecar.URL, "--output=json"}, args...)...)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &said)
	}
	if err != nil {
		r.Fatalf("simulate %s: %v\n%s", args, err, out)
	}
	before, after = map[string]int{}, map[string]int{}
	for _, m := range said.Members {
		before[m.Name], after[m.Name] = m.Targets.Before, m.Targets.After
	}
	return said, before, after
}

// scraped counts the targets that each pair is seen to scrape.
func (r *rig) scraped(pairs ...*Pair) map[string]int {
	r.Helper()
	owners, count := r.owners(), map[string]int{}
	for _, p := range pairs {
		count[p.Name] = len(owned(owners, p))
	}
	return count
}

// TestSimulate asks what a join and a leave would move, does them, and compares.
func TestSimulate(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 4, targets: 120, replicas: 1})
	first, joiner := r.Pairs[:3], r.Pairs[3]
	r.up(first...)

	said, before, after := r.simulate("--add=" + joiner.Name)
	was := r.scraped(first...)
	was[joiner.Name] = 0
	if !maps.Equal(before, was) || said.Differing != 0 || said.Strays != 0 {
		t.Errorf("simulate says %v now, %+v; the targets saw %v", before, said, was)
	}
	r.up(joiner)
	r.settle(30*time.Second, r.Pairs...)
	if is := r.scraped(r.Pairs...); !maps.Equal(is, after) || is[joiner.Name] != said.Moved {
		t.Errorf("simulate said %v for the join, %d moved; it is %v", after, said.Moved, is)
	}

	said, _, after = r.simulate("--remove=" + r.Pairs[1].Name)
	r.Pairs[1].Kill()
	r.settle(30*time.Second, r.running()...)
	left := r.scraped(r.Pairs...)
	if !maps.Equal(left, after) {
		t.Errorf("simulate said %v for the leave; it is %v", after, left)
	}
	r.event("said and seen: %v, of whom %d moved", left, said.Moved)
}
