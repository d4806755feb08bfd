package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if underRace {
		runtime.GOMAXPROCS(1)
	}
	goleak.VerifyTestMain(m)
}

// latency of the simulated network, one way.
const latency = time.Millisecond

// network is memberlist's mock network with faults. It must be made, and its members stopped, in one synctest bubble.
type network struct {
	mock memberlist.MockNetwork

	mu   sync.Mutex
	loss float64 // of packets; streams do without, as TCP does
	// streamLoss is the part of the streams that cannot be opened in time.
	streamLoss float64
	silent     map[string]bool // addresses that neither send nor receive
	side       map[string]int  // of a partition, by address
	refuse     bool            // a silent address refuses streams at once, instead of letting them hang
}

func newNetwork() *network {
	return &network{silent: map[string]bool{}, side: map[string]int{}}
}

func (n *network) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *network) open(from, to string) bool {
	return !n.silent[from] && !n.silent[to] && n.side[from] == n.side[to]
}

// wire is one member's transport. Packets and streams go by address, never by name.
type wire struct {
	*memberlist.MockTransport
	net     *network
	address string
}

func (n *network) newWire(name string) *wire {
	w := &wire{MockTransport: n.mock.NewTransport(name), net: n}
	ip, port, _ := w.FinalAdvertiseAddr("", 0)
	w.address = fmt.Sprintf("%s:%d", ip, port)
	return w
}

func (w *wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	w.net.mu.Lock()
	arrives := w.net.open(w.address, a.Addr) && rand.Float64() >= w.net.loss
	w.net.mu.Unlock()
	if arrives {
		b = slices.Clone(b)
		time.AfterFunc(latency, func() { _, _ = w.MockTransport.WriteTo(b, a.Addr) })
	}
	return time.Now(), nil
}

func (w *wire) WriteTo(b []byte, address string) (time.Time, error) {
	return w.WriteToAddress(b, memberlist.Address{Addr: address})
}

func (w *wire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	w.net.mu.Lock()
	open, refuse := w.net.open(w.address, a.Addr), w.net.refuse
	lost := rand.Float64() < w.net.streamLoss
	w.net.mu.Unlock()
	switch {
	case open && !lost:
		time.Sleep(3 * latency)
		return w.MockTransport.DialTimeout(a.Addr, timeout)
	case refuse && !lost:
		return nil, errors.New("connection refused")
	default:
		time.Sleep(timeout)
		return nil, errors.New("i/o timeout")
	}
}

func (w *wire) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return w.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// member is a Cluster with its newest snapshot.
type member struct {
	*Cluster
	wire *wire
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	last Snapshot
	dead []string // every dead member of every snapshot
}

func (m *member) snap() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// state is what m sees name to be, or "".
func (m *member) state(name string) State {
	for _, x := range m.snap().Members {
		if x.Name == name {
			return x.State
		}
	}
	return ""
}

// simulation is a cluster of members on a network.
type simulation struct {
	t       testing.TB
	net     *network
	members []*member
	spare   *wire // for one more member: the mock network takes no new one while it runs
}

// simulate starts n members, of which the first is the peer of all, and waits until all are active everywhere.
func simulate(t testing.TB, n int) *simulation {
	s := &simulation{t: t, net: newNetwork()}
	s.spare = s.net.newWire("spare")
	var wires []*wire
	for i := range n {
		wires = append(wires, s.net.newWire(nodeName(i)))
	}
	for i, w := range wires {
		s.start(nodeName(i), w, wires[0].address)
	}
	s.within(15*time.Second, "all active", func() bool { return s.converged(s.members, n) })
	return s
}

func nodeName(i int) string { return fmt.Sprintf("m%02d", i) }

func (s *simulation) start(name string, w *wire, peers ...string) *member {
	return s.startWith(&names{}, name, w, peers...)
}

func (s *simulation) startWith(dns resolver, name string, w *wire, peers ...string) *member {
	s.t.Helper()
	cfg := DefaultConfig
	cfg.Name, cfg.Node, cfg.ListenAddress, cfg.Peers = "sim", name, "127.0.0.1:0", peers
	c, err := newCluster(cfg, log.NewNopLogger(), prometheus.NewRegistry(), w)
	if err != nil {
		s.t.Fatal(err)
	}
	c.peers.dns = dns
	c.Publish(Facts{State: Active})
	ctx, cancel := context.WithCancel(s.t.Context())
	m := &member{Cluster: c, wire: w, stop: cancel, done: make(chan struct{})}
	go func() {
		_ = c.Run(ctx)
		close(m.done)
	}()
	go func() {
		for {
			select {
			case <-m.done:
				return
			case snap := <-c.Updates():
				m.mu.Lock()
				m.last = snap
				for _, x := range snap.Members {
					if x.State == Dead {
						m.dead = append(m.dead, x.Name)
					}
				}
				m.mu.Unlock()
			}
		}
	}()
	s.members = append(s.members, m)
	return m
}

// converged says whether each of members sees exactly n active ones.
func (s *simulation) converged(members []*member, n int) bool {
	for _, m := range members {
		active := 0
		for _, x := range m.snap().Members {
			if x.State == Active {
				active++
			}
		}
		if active != n || !m.snap().Known {
			return false
		}
	}
	return true
}

// within waits for ok, and returns how long that took.
func (s *simulation) within(limit time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			for _, m := range s.members {
				for _, x := range m.snap().Members {
					s.t.Logf("%s sees %s at %s %s, view %d", m.cfg.Node, x.Name, x.Address, x.State, x.View)
				}
			}
			s.t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// halt stops members after what is on its way to them has arrived: the mock transport would wait for ever for a reader.
func (s *simulation) halt(members ...*member) {
	s.net.set(func() {
		for _, m := range members {
			s.net.silent[m.wire.address] = true
		}
	})
	time.Sleep(10 * latency)
	for _, m := range members {
		m.stop()
		<-m.done
	}
}

// end stops all members, and lets what they began run out.
func (s *simulation) end() {
	s.halt(s.members...)
	time.Sleep(time.Minute)
}
