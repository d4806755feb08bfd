package agent

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
)

func TestCluster(t *testing.T) {
	jobs := []gossip.JobFacts{{ID: 7, View: 1, Applied: 2}}
	got := cluster(gossip.Snapshot{Known: true, Members: []gossip.Member{
		{Name: "a", Facts: gossip.Facts{State: gossip.Active, Zone: "z", CapacitySeries: 9, Jobs: jobs}},
		{Name: "b", Facts: gossip.Facts{State: gossip.Dead}},
		{Name: "c", Facts: gossip.Facts{State: gossip.Left}},
		{Name: "d", Facts: gossip.Facts{State: gossip.Draining}},
	}})
	want := scrape.Cluster{Known: true, Members: []scrape.Member{
		{Name: "a", Zone: "z", State: scrape.Active, CapacitySeries: 9, Jobs: map[uint64]scrape.JobView{7: {View: 1, Applied: 2}}},
		{Name: "b", State: scrape.Dead, Jobs: map[uint64]scrape.JobView{}},
		{Name: "c", State: scrape.Left, Jobs: map[uint64]scrape.JobView{}},
		{Name: "d", State: scrape.Draining, Jobs: map[uint64]scrape.JobView{}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestGossipFacts(t *testing.T) {
	got := gossipFacts(scrape.Facts{
		State: scrape.Unready, PrometheusReady: true, Targets: 1, Series: 2, CapacitySeries: 3, ConfigHash: 4, View: 5, AppliedView: 6,
		Jobs: map[uint64]scrape.JobView{9: {View: 1}, 8: {View: 2, Applied: 2}},
	})
	want := gossip.Facts{
		State: gossip.Unready, PrometheusReady: true, Targets: 1, Series: 2, CapacitySeries: 3, ConfigHash: 4, View: 5, AppliedView: 6,
		Jobs: []gossip.JobFacts{{ID: 8, View: 2, Applied: 2}, {ID: 9, View: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestStates wants every state to be called the same by both parts.
func TestStates(t *testing.T) {
	for a, b := range map[gossip.State]scrape.State{
		gossip.Joining: scrape.Joining, gossip.Active: scrape.Active, gossip.Unready: scrape.Unready,
		gossip.Draining: scrape.Draining, gossip.Left: scrape.Left, gossip.Dead: scrape.Dead,
	} {
		if string(a) != string(b) {
			t.Errorf("%q and %q", a, b)
		}
	}
}

func TestHTTPAddress(t *testing.T) {
	s := gossip.Snapshot{Self: "me", Members: []gossip.Member{{Name: "other", Address: "10.0.0.1:7946"}, {Name: "me", Address: "10.0.0.2:7946"}}}
	for _, tc := range []struct {
		listen   string
		snapshot gossip.Snapshot
		want     string
	}{
		{"[::]:9590", s, "10.0.0.2:9590"},
		{"0.0.0.0:9590", s, "10.0.0.2:9590"},
		{"127.0.0.1:9590", s, "127.0.0.1:9590"},
		{"[::]:9590", gossip.Snapshot{Self: "me"}, ""},
	} {
		listen := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tc.listen))
		if got := httpAddress(listen, tc.snapshot); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.listen, got, tc.want)
		}
	}
}

func TestRelayURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9591": "http://127.0.0.1:9591/x",
		"0.0.0.0:9591":   "http://127.0.0.1:9591/x",
		":9591":          "http://127.0.0.1:9591/x",
		"[::]:9591":      "http://127.0.0.1:9591/x",
		"[fd00::1]:9591": "http://[fd00::1]:9591/x",
		"localhost:9591": "http://localhost:9591/x",
	} {
		if got := relayURL(listen, "/x"); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

// TestScrapeConfig wants Prometheus to send its samples to the relay if there
// is an upstream, and as 2.0 if one is to get that.
func TestScrapeConfig(t *testing.T) {
	for _, tc := range []struct {
		name, upstreams, url, message string
	}{
		{"no upstream", "[]", "", ""},
		{"by what they ask for", "[{name: a, endpoints: [http://a/]}]", "http://127.0.0.1:1/api/v1/write", ""},
		{"1.0", "[{name: a, endpoints: [http://a/], protobuf_message: prometheus.WriteRequest}]", "http://127.0.0.1:1/api/v1/write", ""},
		{
			"one of two 2.0", "[{name: a, endpoints: [http://a/], protobuf_message: io.prometheus.write.v2.Request}, {name: b, endpoints: [http://b/]}]",
			"http://127.0.0.1:1/api/v1/write", "io.prometheus.write.v2.Request",
		},
	} {
		var cfg config.Config
		if err := yaml.Unmarshal([]byte("relay: {upstreams: "+tc.upstreams+"}"), &cfg); err != nil {
			t.Fatal(err)
		}
		got := scrapeConfig(&cfg, "127.0.0.1:1")
		if got.RelayURL != tc.url || got.RelayMessage != tc.message || got.FeedbackURL != "http://127.0.0.1:1/api/v1/feedback" {
			t.Errorf("%s: samples to %q as %q, feedback to %q; want %q as %q", tc.name, got.RelayURL, got.RelayMessage, got.FeedbackURL, tc.url, tc.message)
		}
	}
}
