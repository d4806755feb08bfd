package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// facts of a member with many jobs, too many for a packet.
func manyJobs(view uint64) Facts {
	f := Facts{State: Active, PrometheusReady: true, HTTPAddress: "10.0.0.1:9590", Version: "1.2.3", View: view, AppliedView: view}
	for i := range uint64(200) {
		f.Jobs = append(f.Jobs, JobFacts{ID: i, View: view, Applied: view})
	}
	return f
}

// heard says whether all of members have heard view of all.
func (s *simulation) heard(members []*member, view uint64) bool {
	for _, m := range members {
		for _, x := range m.snap().Members {
			if x.View != view || len(x.Jobs) != 200 || x.Jobs[199].Applied != view {
				return false
			}
		}
	}
	return true
}

// When all members have large news at once, as when membership changes, all have heard all well within a second.
func TestFactsSpread(t *testing.T) {
	for _, loss := range []float64{0, 0.3} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, 20)
				s.net.set(func() { s.net.loss = loss })
				for view := range uint64(5) {
					for _, m := range s.members {
						m.Publish(manyJobs(view + 1))
					}
					t.Logf("heard after %s", s.within(500*time.Millisecond, "heard", func() bool { return s.heard(s.members, view+1) }))
				}
				s.end()
			})
		})
	}
}

// Facts whose streams fail reach everybody by push/pull or the next attempt. An attempt takes 6 s where the stream cannot be opened, and 3 in
// 10 succeed: that one of the 90 pairs has none in 6 minutes, push/pull aside, happens once in twenty million runs. Most take 40 s.
func TestFactsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 10)
		s.net.set(func() { s.net.streamLoss = 0.7 })
		for _, m := range s.members {
			m.Publish(manyJobs(1))
		}
		t.Logf("heard after %s", s.within(6*time.Minute, "heard", func() bool { return s.heard(s.members, 1) }))
		s.end()
	})
}

// A member whose clock was ahead in its former life outdoes what is still said of that.
func TestFormerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 3)
		former := message{
			Name: "m00", Address: s.members[0].wire.address, Incarnation: uint64(time.Now().Add(time.Hour).UnixNano()),
			Facts: Facts{State: Draining},
		}
		s.members[1].hear(former.encode())
		s.within(time.Second, "the former life is heard", func() bool { return s.members[1].state("m00") == Draining })
		s.within(15*time.Second, "it is outdone", func() bool { return s.converged(s.members, 3) })
		s.end()
	})
}

// A newcomer knows all members with their facts as soon as membership is known to it, and they know its own at once.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 20)
		m := s.start("newcomer", s.spare, s.members[7].wire.address)
		s.within(time.Second, "known", func() bool { return m.snap().Known })
		if !s.converged([]*member{m}, 21) {
			t.Errorf("known, but with %v", m.snap().Members)
		}
		s.within(time.Second, "seen", func() bool { return s.converged(s.members, 21) })
		s.end()
	})
}

func TestLeave(t *testing.T) {
	t.Run("a member", func(t *testing.T) { leaves(t, 3) })
	t.Run("one that all have among their peers", func(t *testing.T) { leaves(t, 0) })
}

func leaves(t *testing.T, i int) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 10)
		gone := s.members[i]
		begin := time.Now()
		left := make(chan error)
		go func() { left <- gone.Leave(5 * time.Second) }()
		others := slices.Delete(slices.Clone(s.members), i, i+1)
		s.within(200*time.Millisecond, "left", func() bool {
			return !slices.ContainsFunc(others, func(m *member) bool { return m.state(gone.cfg.Node) != Left })
		})
		if err := <-left; err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("Leave: %v after %s", err, time.Since(begin))
		}
		if err := gone.Leave(time.Second); err != nil {
			t.Errorf("a second Leave: %v", err)
		}
		gone.Publish(Facts{State: Active})
		s.halt(gone)
		if gone.Leave(time.Second) == nil {
			t.Error("Leave after the end has no error")
		}
		time.Sleep(4 * time.Minute)
		for _, m := range others {
			if m.state(gone.cfg.Node) != Left || testutil.ToFloat64(m.metrics.joins.WithLabelValues(outcomeError)) != 0 {
				t.Errorf("%s sees %s, or tries to get it back", m.cfg.Node, m.state(gone.cfg.Node))
			}
		}
		time.Sleep(70 * time.Second)
		if !s.converged(others, 9) || others[0].state(gone.cfg.Node) != "" {
			t.Error("listed for more than 5 minutes")
		}
		s.end()
	})
}

// A pod that is replaced under its name, with another address and without a good-bye, is back soon after its death is noticed.
func TestReplacedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 5)
		old := s.members[2]
		s.net.set(func() { s.net.silent[old.wire.address] = true })
		next := s.start("m02", s.spare, s.members[0].wire.address)
		next.Publish(manyJobs(7))
		others := []*member{s.members[0], s.members[1], s.members[3], s.members[4]}
		t.Logf("back after %s", s.within(15*time.Second, "replaced", func() bool {
			return !slices.ContainsFunc(others, func(m *member) bool {
				return !slices.ContainsFunc(m.snap().Members, func(x Member) bool {
					return x.Name == "m02" && x.Address == next.wire.address && x.View == 7 && x.State == Active
				})
			})
		}))
		time.Sleep(10 * time.Second)
		for _, m := range others {
			if p := m.snap().Problems; len(p) > 0 {
				t.Errorf("a replaced member is not a problem: %v", p)
			}
		}
		s.end()
	})
}

// Two living members of one name: the first keeps it, and all whom the second reaches are told, as it is itself.
func TestNameConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, 3)
		other := s.start("m01", s.spare, s.members[0].wire.address)
		other.Publish(manyJobs(9))
		told := []*member{s.members[0], s.members[2], other}
		s.within(30*time.Second, "told", func() bool {
			return !slices.ContainsFunc(told, func(m *member) bool {
				return !strings.Contains(strings.Join(m.snap().Problems, "\n"), `both called "m01"`)
			})
		})
		for _, m := range told {
			if testutil.ToFloat64(m.metrics.troubles[nameConflict]) == 0 {
				t.Errorf("%s has no metric", m.cfg.Node)
			}
			if c := m.snap().Conflict; strings.Contains(c, `both called "m01"`) != (m == other) {
				t.Errorf("%s: of its own name: %q", m.cfg.Node, c)
			}
		}
		for _, m := range s.members[:3] {
			for _, x := range m.snap().Members {
				if x.View != 0 || x.Address == other.wire.address {
					t.Errorf("%s takes the second m01 for the first: %+v", m.cfg.Node, x)
				}
			}
		}
		s.end()
	})
}

func TestKnown(t *testing.T) {
	tests := []struct {
		name     string
		peers    []string // %s is the member itself
		from, to time.Duration
	}{
		{"no peers", nil, 0, 100 * time.Millisecond},
		{"only itself", []string{"%s"}, 0, 100 * time.Millisecond},
		{"nobody there", []string{"%s", "127.0.0.1:9999"}, loneAfter, loneAfter + 100*time.Millisecond},
		{"no such name", []string{"dns+nowhere:7946"}, loneAfter, loneAfter + 100*time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{t: t, net: newNetwork()}
				w := s.net.newWire("m00")
				var peers []string
				for _, p := range tt.peers {
					peers = append(peers, strings.ReplaceAll(p, "%s", w.address))
				}
				m := s.startWith(&names{}, "m00", w, peers...)
				took := s.within(time.Minute, "known", func() bool { return m.snap().Known })
				if took < tt.from || took > tt.to {
					t.Errorf("known after %s", took)
				}
				if got := m.snap().Members; len(got) != 1 || got[0].Name != "m00" || got[0].State != Active {
					t.Errorf("members %+v", got)
				}
				s.end()
			})
		})
	}
}

// names is a DNS whose content is a field.
type names struct {
	hosts map[string]string // name to IP address
	srv   map[string][]*net.SRV
	fails bool
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(n.hosts[host]); err == nil && !n.fails {
		return []netip.Addr{ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if n.fails || n.srv[name] == nil {
		return "", nil, errors.New("server misbehaving")
	}
	return name, n.srv[name], nil
}

// A member found by SRV record is found again by the last answer when DNS fails, and by a new one when it has moved.
func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{t: t, net: newNetwork()}
		a, b := s.net.newWire("a"), s.net.newWire("b")
		port := netip.MustParseAddrPort(a.address).Port()
		dns := &names{
			hosts: map[string]string{"a.svc.": "127.0.0.1"},
			srv:   map[string][]*net.SRV{"_gossip._tcp.svc": {{Target: "a.svc.", Port: port}}},
		}
		s.start("a", a)
		m := s.startWith(dns, "b", b, "dnssrv+_gossip._tcp.svc")
		s.within(time.Second, "joined", func() bool { return s.converged(s.members, 2) })

		s.net.set(func() { dns.fails = true; s.net.side[a.address] = 1 })
		time.Sleep(2 * goneListed) // a's last address is forgotten
		s.net.set(func() { s.net.side[a.address] = 0 })
		s.within(20*time.Second, "joined again by the last answer", func() bool { return s.converged(s.members, 2) })
		if p := m.snap().Problems; len(p) != 1 || !strings.Contains(p[0], "last answer, ["+a.address+"]") {
			t.Errorf("problems %q", p)
		}
		if testutil.ToFloat64(m.metrics.dnsFailures) == 0 {
			t.Error("no metric")
		}
		s.net.set(func() { dns.fails = false })
		s.within(time.Minute, "no problem", func() bool { return len(m.snap().Problems) == 0 })
		s.end()
	})
}
