package gossip_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"

	"github.com/ringside-project/ringside/gossip"
)

// node is a member on loopback.
type node struct {
	*gossip.Cluster
	t   *testing.T
	reg *prometheus.Registry
	log *logBuffer

	mu   sync.Mutex
	last gossip.Snapshot
	stop func()
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func config(name, listen string, peers ...string) gossip.Config {
	cfg := gossip.DefaultConfig
	cfg.Name, cfg.Node, cfg.ListenAddress, cfg.Peers = "test", name, listen, peers
	cfg.RejoinInterval = model.Duration(time.Second)
	return cfg
}

// start runs a member until the test ends, or stop is called.
func start(t *testing.T, cfg gossip.Config) *node {
	t.Helper()
	n := &node{t: t, reg: prometheus.NewRegistry(), log: &logBuffer{}}
	c, err := gossip.New(cfg, log.NewLogfmtLogger(n.log), n.reg)
	if err != nil {
		t.Fatal(err)
	}
	n.Cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-c.Updates():
				n.mu.Lock()
				n.last = s
				n.mu.Unlock()
			}
		}
	})
	n.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(n.stop)
	return n
}

func (n *node) snapshot() gossip.Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// sees returns what n sees of name.
func (n *node) sees(name string) gossip.Member {
	for _, m := range n.snapshot().Members {
		if m.Name == name {
			return m
		}
	}
	return gossip.Member{}
}

// address is where n gossips.
func (n *node) address() string {
	var a string
	eventually(n.t, "an address", func() bool { a = n.sees(n.snapshot().Self).Address; return a != "" })
	return a
}

// troubled says whether n lists a problem with text, logs it, and counts it in metric.
func (n *node) troubled(text, metric string) bool {
	listed := slices.ContainsFunc(n.snapshot().Problems, func(p string) bool { return strings.Contains(p, text) })
	return listed && strings.Contains(n.log.String(), text) && n.metric(metric) > 0
}

func (n *node) metric(name string) (v float64) {
	families, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				v += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return v
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

func keyFile(t *testing.T, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gossip.key")
	writeKeys(t, path, keys...)
	return path
}

func writeKeys(t *testing.T, path string, keys ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := gossip.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func active(n, of *node) bool { return n.sees(of.snapshot().Self).State == gossip.Active }

func TestLoopback(t *testing.T) {
	a := start(t, config("a", "127.0.0.1:0"))
	a.Publish(gossip.Facts{State: gossip.Active, Targets: 7})
	cfg := config("b", "127.0.0.1:0", a.address())
	cfg.Zone = "z"
	b := start(t, cfg)
	b.Publish(gossip.Facts{State: gossip.Active, Jobs: make([]gossip.JobFacts, 8192)})
	eventually(t, "both see both", func() bool {
		return a.sees("b").Zone == "z" && len(a.sees("b").Jobs) == 8192 && b.sees("a").Targets == 7 && b.snapshot().Known
	})
	if a.snapshot().Encrypted {
		t.Error("encrypted without a key")
	}
	if got := a.metric("ringside_cluster_members"); got != 2 {
		t.Errorf("ringside_cluster_members sums up to %v", got)
	}
	problems, err := testutil.GatherAndLint(a.reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(a.reg, "ringside_cluster_members"); n != 6 || err != nil {
		t.Errorf("%d states, %v", n, err)
	}

	// b starts again at the same address, before its death is noticed.
	address := b.address()
	b.stop()
	b = start(t, config("b", address, a.address()))
	eventually(t, "its former life is forgotten", func() bool { return a.sees("b").State == gossip.Joining && len(a.sees("b").Jobs) == 0 })
	if err := b.Leave(5 * time.Second); err != nil {
		t.Error(err)
	}
	eventually(t, "left", func() bool { return a.sees("b").State == gossip.Left })
	if _, err := gossip.New(config("c", address), log.NewNopLogger(), nil); err == nil || !strings.Contains(err.Error(), "cluster.listen_address") {
		t.Errorf("a port in use: %v", err)
	}
	b.stop()
	b = start(t, config("b", address, a.address()))
	b.Publish(gossip.Facts{State: gossip.Active})
	eventually(t, "back after it left", func() bool { return active(a, b) && active(b, a) })
}

// Keys are rotated without a gap: the new one everywhere, then first, then the old one away. Neither shows in a log.
func TestKeyRotation(t *testing.T) {
	first, second := newKey(t), newKey(t)
	var nodes []*node
	var files []string
	var peers []string
	for i := range 3 {
		files = append(files, keyFile(t, first))
		cfg := config(fmt.Sprint("n", i), "127.0.0.1:0", peers...)
		cfg.KeyFile = files[i]
		n := start(t, cfg)
		n.Publish(gossip.Facts{State: gossip.Active})
		nodes, peers = append(nodes, n), append(peers, n.address())
	}
	whole := func() bool {
		for _, n := range nodes {
			for _, m := range nodes {
				if !active(n, m) {
					return false
				}
			}
		}
		return true
	}
	eventually(t, "all active", whole)
	reloads := nodes[0].metric("ringside_gossip_key_reloads_total")
	for i, n := range nodes {
		writeKeys(t, files[i], "torn!")
		eventually(t, "the torn file is told", func() bool { return n.troubled("gossip.key:1: not base64", "ringside_gossip_key_reloads_total") })
	}
	for _, step := range [][]string{{first, second}, {second, first}, {second}} {
		for i, n := range nodes {
			writeKeys(t, files[i], step...)
			eventually(t, "read", func() bool {
				return n.metric("ringside_gossip_keys") == float64(len(step)) && len(n.snapshot().Problems) == 0
			})
		}
		reloads++
		eventually(t, "counted", func() bool { return nodes[0].metric("ringside_gossip_key_reloads_total") > reloads })
		view := uint64(len(step[0])) + uint64(reloads)
		for _, n := range nodes {
			n.Publish(gossip.Facts{State: gossip.Active, View: view})
		}
		eventually(t, "news under these keys", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool {
				return n.sees("n0").View != view || n.sees("n1").View != view || n.sees("n2").View != view
			})
		})
	}
	for _, n := range nodes {
		if !n.snapshot().Encrypted || strings.Contains(n.log.String(), first[:8]) || strings.Contains(n.log.String(), second[:8]) {
			t.Errorf("not encrypted, or the log shows a key:\n%s", n.log)
		}
	}
}

// A Secret's change is a change of symlinks in the directory.
func TestKeyFileSymlinkSwap(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeKeys(t, filepath.Join(dir, "1", "gossip.key"), newKey(t))
	writeKeys(t, filepath.Join(dir, "2", "gossip.key"), newKey(t), newKey(t))
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("1", "..data")
	link("..data/gossip.key", "gossip.key")
	cfg := config("a", "127.0.0.1:0")
	cfg.KeyFile = filepath.Join(dir, "gossip.key")
	a := start(t, cfg)
	eventually(t, "one key", func() bool { return a.metric("ringside_gossip_keys") == 1 })
	link("2", "..next")
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two keys", func() bool { return a.metric("ringside_gossip_keys") == 2 })
}

// Strangers are refused, and each kind is told: by a line to read, in the log and in a metric.
func TestStrangers(t *testing.T) {
	plain := start(t, config("plain", "127.0.0.1:0"))
	secured := func(name string) gossip.Config {
		cfg := config(name, "127.0.0.1:0", plain.address())
		cfg.KeyFile = keyFile(t, newKey(t))
		return cfg
	}
	keyed := start(t, secured("keyed"))
	tests := []struct {
		name         string
		who          *node
		do           func(t *testing.T, address string)
		text, metric string
	}{
		{"foreign label", plain, func(t *testing.T, address string) {
			cfg := config("foreign", "127.0.0.1:0", address)
			cfg.Name = "staging"
			f := start(t, cfg)
			eventually(t, "the foreigner's log tells", func() bool { return strings.Contains(f.log.String(), "another cluster.name") })
		}, "give both the same cluster.name, or take this member out of its peers", "ringside_gossip_foreign_label_total"},
		{"no key here", plain, func(*testing.T, string) {}, "under a key that is not in this member's key file", "ringside_gossip_wrong_key_total"},
		{"no key there", keyed, func(t *testing.T, address string) {
			start(t, config("keyless", "127.0.0.1:0", address))
		}, "or under none: give both the same cluster.key_file", "ringside_gossip_wrong_key_total"},
		{"other key", keyed, func(t *testing.T, address string) {
			cfg := secured("other")
			cfg.Peers = []string{address}
			o := start(t, cfg)
			eventually(t, "the other's page tells", func() bool {
				return o.troubled("give both the same cluster.key_file", "ringside_gossip_wrong_key_total")
			})
		}, "under a key that is not in this member's key file", "ringside_gossip_wrong_key_total"},
		{"garbage", plain, func(t *testing.T, address string) {
			for _, network := range []string{"udp", "tcp"} {
				conn, err := net.Dial(network, address)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
					t.Error(err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		}, "sends to the gossip port what is not gossip", "ringside_gossip_garbage_total"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.do(t, tt.who.address())
			eventually(t, "told", func() bool { return tt.who.troubled(tt.text, tt.metric) })
		})
	}
	for _, n := range []*node{plain, keyed} {
		if got := n.snapshot().Members; len(got) != 1 {
			t.Errorf("members %+v", got)
		}
	}
}
