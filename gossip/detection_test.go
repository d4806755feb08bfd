package gossip

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// trials is how many crashes TestDetection looks at in each of its cases.
var trials = flag.Int("trials", 3, "crashes for each case of TestDetection")

// A member that is killed is dead to all survivors within 4 s.
func TestDetection(t *testing.T) {
	for _, n := range []int{3, 5, 10, 20} {
		for _, loss := range []float64{0, 0.3} {
			t.Run(fmt.Sprintf("members=%d/loss=%v", n, loss), func(t *testing.T) {
				t.Parallel()
				var took []time.Duration
				synctest.Test(t, func(t *testing.T) { took = crashes(t, n, loss) })
				slices.Sort(took)
				t.Logf("%d members, %2.0f %% UDP loss, %d crashes: all survivors know after median %.2f s, p99 %.2f s, max %.2f s", n, 100*loss,
					len(took), took[len(took)/2].Seconds(), took[len(took)*99/100].Seconds(), took[len(took)-1].Seconds())
				if worst := took[len(took)-1]; worst > 4*time.Second {
					t.Errorf("detection took %s", worst)
				}
			})
		}
	}
}

// crashes lets one member vanish from a cluster of n, trials times, and returns how long it took until all others knew.
func crashes(t *testing.T, n int, loss float64) (took []time.Duration) {
	s := simulate(t, n)
	s.net.set(func() { s.net.loss = loss })
	for k := range *trials {
		victim := s.members[k%n]
		s.net.set(func() {
			s.net.silent[victim.wire.address] = true
			s.net.refuse = k%2 == 0 // a process that died, or a machine
		})
		took = append(took, s.within(20*time.Second, "dead", func() bool {
			return !slices.ContainsFunc(s.members, func(m *member) bool {
				return m != victim && m.state(victim.cfg.Node) != Dead
			})
		}))
		s.net.set(func() { s.net.silent[victim.wire.address] = false })
		s.within(time.Minute, "back", func() bool { return s.converged(s.members, n) })
		time.Sleep(5 * time.Second)
	}
	s.end()
	return took
}

// Loss of 30 % of the packets, for 10 minutes (2 with the race detector), kills nobody.
func TestNoFalseDeath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 20)
		s.net.set(func() { s.net.loss = 0.3 })
		time.Sleep(lossLasts)
		for _, m := range s.members {
			m.mu.Lock()
			if len(m.dead) > 0 {
				t.Errorf("%s saw dead: %v", m.cfg.Node, m.dead)
			}
			m.mu.Unlock()
		}
		if !s.converged(s.members, 20) {
			t.Error("not all are active")
		}
		s.end()
	})
}

// A partition of 60 s is whole again within 20 s.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 20)
		for range 3 {
			s.net.set(func() {
				for i, m := range s.members {
					s.net.side[m.wire.address] = i % 2
				}
			})
			time.Sleep(time.Minute)
			if s.converged(s.members[:1], 20) || !s.converged(s.members, 10) {
				t.Error("the partition was not noticed")
			}
			s.net.set(func() { clear(s.net.side) })
			t.Logf("merged after %s", s.within(20*time.Second, "merged", func() bool { return s.converged(s.members, 20) }))
			time.Sleep(20 * time.Second)
			if !s.converged(s.members, 20) {
				t.Error("did not stay merged")
			}
		}
		s.end()
	})
}
