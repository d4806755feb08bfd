package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

// The size at which the page's bounds hold.
const (
	manyMembers = 100
	manyTargets = 100_000
	maxPageSize = 1_000_000 // bytes
)

// manyPages serves the page of a sidecar of a large fleet, with discovery and
// ownership as they are in earnest. Prometheus is not there.
func manyPages(b *testing.B) *handlers {
	b.Helper()
	dir := b.TempDir()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write("prometheus.yml", []byte("scrape_configs:\n  - job_name: pods\n    file_sd_configs: [{files: [pods.json]}]\n"))
	groups := make([]map[string]any, manyTargets)
	for i := range groups {
		groups[i] = map[string]any{
			"targets": []string{fmt.Sprintf("10.%d.%d.%d:9100", i>>16, i>>8&255, i&255)},
			"labels":  map[string]string{"namespace": fmt.Sprintf("team-%d", i%300), "pod": fmt.Sprintf("pod-%d-abcde", i), "env": "prod", "app": fmt.Sprintf("app-%d", i%40)},
		}
	}
	text, err := json.Marshal(groups)
	if err != nil {
		b.Fatal(err)
	}
	write("pods.json", text)

	cfg := scrape.Config{
		Node: "member-0", ReplicaLabel: "prometheus_replica", MinMembers: 1, FeedbackURL: "http://127.0.0.1:1/api/v1/feedback",
		Prometheus: scrape.DefaultPrometheus, Sharding: scrape.DefaultSharding,
	}
	cfg.Prometheus.URL = "http://127.0.0.1:1"
	cfg.Prometheus.SetDirectory(dir)
	s, err := scrape.New(cfg, log.NewNopLogger(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	snapshot := gossip.Snapshot{Self: "member-0", Known: true}
	members := scrape.Cluster{Known: true}
	for i := range manyMembers {
		name := fmt.Sprintf("member-%d", i)
		m := gossip.Member{Name: name, Address: fmt.Sprintf("10.9.0.%d:7946", i), Facts: gossip.Facts{
			State: gossip.Active, Zone: fmt.Sprintf("eu-1%c", 'a'+i%3), HTTPAddress: fmt.Sprintf("10.9.0.%d:9590", i), Version: "0.1.0",
			PrometheusReady: true, Targets: manyTargets / manyMembers, Series: 300 * manyTargets / manyMembers, View: 1, AppliedView: 1,
		}}
		snapshot.Members = append(snapshot.Members, m)
		if i > 0 {
			members.Members = append(members.Members, scrape.Member{Name: name, Zone: m.Zone, State: scrape.Active, Jobs: map[uint64]scrape.JobView{scrape.JobID("pods"): {}}})
		}
	}
	s.SetCluster(members)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if page, total := s.Status().Targets(scrape.Filter{Page: 1, Limit: 1}); total == manyTargets && len(page[0].Owners) == 1 {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("the targets are not discovered within a minute")
		}
	}
	st := &state{
		cluster: "prod", scrape: s, snapshot: func() *gossip.Snapshot { return &snapshot },
		config: func() reloadStatus { return reloadStatus{inForce: config.Default} },
	}
	h := &handlers{
		state: st, drainer: s, peers: newPeers(st, func() bool { return false }), gatherer: prometheus.NewRegistry(), logger: log.NewNopLogger(),
		relay:   func() relay.Status { return relay.Status{} },
		uploads: func() uploader.Status { return uploader.Status{} },
	}
	// Everybody has answered, and all say something else: nothing is larger.
	for i, m := range snapshot.Members[1:] {
		a := page.Answer{At: time.Now(), View: fmt.Sprintf("%016x", i), States: map[string]gossip.State{}}
		for k, of := range snapshot.Members {
			a.States[of.Name] = []gossip.State{gossip.Active, gossip.Dead, gossip.Draining}[(i+k)%3]
		}
		h.peers.said[m.Name] = a
	}
	return h
}

var searches = []struct{ name, query string }{
	{"no search", ""},
	{"one target", "?q=10.1.7.9:9100"},
	{"by URL", "?q=http://10.1.7.9:9100/metrics"},
	{"by label", "?q=pod%3Dpod-77777-abcde"},
	{"nothing", "?q=no+such+thing"},
	{"everything", "?q=prod"},
	{"an owner's", "?q=member-77&page=3"},
}

// BenchmarkPage renders the page of 100 members and 100,000 targets. The bounds
// are 100 ms and 1 MB; what the page has at most package page tests.
func BenchmarkPage(b *testing.B) {
	routes := manyPages(b).routes()
	for _, s := range searches {
		b.Run(s.name, func(b *testing.B) {
			var size int
			for b.Loop() {
				rec := httptest.NewRecorder()
				routes.ServeHTTP(rec, httptest.NewRequest("GET", "/"+s.query, nil))
				size = rec.Body.Len()
			}
			if size > maxPageSize || size < 10_000 {
				b.Errorf("%d bytes", size)
			}
			b.ReportMetric(float64(size), "page-bytes")
		})
	}
}
