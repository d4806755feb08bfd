package upstream

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/ringside-project/ringside/relay/hashring"
	"github.com/ringside-project/ringside/relay/wire"
)

func both(t *testing.T, test func(t *testing.T, msg wire.Message)) {
	for _, msg := range []wire.Message{wire.V1, wire.V2} {
		t.Run(string(msg), func(t *testing.T) { test(t, msg) })
	}
}

// TestTenantByLabel: one request a tenant, without the label.
func TestTenantByLabel(t *testing.T) {
	both(t, func(t *testing.T, msg wire.Message) {
		server := newReceiver(t, nil)
		r := newRig(t, at(server)+"tenant: {header: X-Scope-OrgID, label: team}")
		var all []point
		for i := range 40 {
			all = append(all, point{labels: []string{"__name__", fmt.Sprintf("m%02d", i), "team", fmt.Sprint("t", i%20)}})
		}
		all = append(all, point{labels: []string{"__name__", "none"}}, point{labels: []string{"__name__", "odd", "team", "a\nb"}})
		r.want(t, r.deliver(t, msg, all...), Result{Delivered: samples(41), Rejected: samples(1), Status: 400, Reason: `series 41: the value of label "team" names its tenant, and cannot be put into header X-Scope-OrgID`})
		byTenant := map[string]string{}
		for _, req := range server.all() {
			byTenant[req.header.Get("X-Scope-OrgID")] += strings.Join(req.series, " ")
		}
		if len(byTenant) != 21 || len(server.all()) != 21 {
			t.Errorf("%d requests of %d tenants", len(server.all()), len(byTenant))
		}
		if got := byTenant["t7"]; got != `{__name__="m07", prometheus_replica="a"} {__name__="m27", prometheus_replica="a"}` {
			t.Errorf("t7 has %s", got)
		}
		if got := byTenant[""]; got != `{__name__="none", prometheus_replica="a"}` {
			t.Errorf("nobody has %s", got)
		}
	})
}

// TestTenantFixed and of the added labels.
func TestTenantFixed(t *testing.T) {
	server := newReceiver(t, nil)
	r := newRig(t, at(server)+"tenant: {header: THANOS-TENANT, value: team-a}")
	r.deliver(t, wire.V1, points(1)...)
	r = newRig(t, at(server)+"tenant: {header: THANOS-TENANT, label: cluster}", func(o *Options) {
		o.Labels = append(o.Labels, labels.Label{Name: "cluster", Value: "eu"})
	})
	r.deliver(t, wire.V1, points(1)...)
	all := server.all()
	if len(all) != 2 || all[0].header.Get("Thanos-Tenant") != "team-a" || all[1].header.Get("Thanos-Tenant") != "eu" || strings.Contains(all[1].series[0], "cluster") {
		t.Errorf("got %+v", all)
	}
}

func TestReplicaLabel(t *testing.T) {
	both(t, func(t *testing.T, msg wire.Message) {
		own := point{labels: []string{"__name__", "x", replicaLabel, "other"}}
		for policy, want := range map[string]string{
			"keep": `{__name__="m0", prometheus_replica="a"} {__name__="x", prometheus_replica="other"}`,
			"drop": `{__name__="m0"} {__name__="x"}`,
		} {
			server := newReceiver(t, nil)
			r := newRig(t, at(server)+"replica_label: "+policy)
			r.deliver(t, msg, points(1)[0], own)
			if got := strings.Join(server.got(), " "); got != want {
				t.Errorf("%s: got %s", policy, got)
			}
		}
	})
}

func TestWriteRelabel(t *testing.T) {
	both(t, func(t *testing.T, msg wire.Message) {
		server := newReceiver(t, nil)
		r := newRig(t, at(server)+`
tenant: {header: X, label: team}
write_relabel_configs:
  - {source_labels: [__name__], regex: "m1|m3", action: drop}
  - {source_labels: [prometheus_replica, team], regex: "a;", target_label: seen, replacement: "yes"}
  - {source_labels: [__name__], regex: "m2", target_label: __name__, replacement: two}
  - {source_labels: [__name__], regex: "bare", target_label: seen, replacement: ""}
  - {regex: "gone|bare.*", action: labeldrop}`)
		all := points(5)
		all[4].labels = append(all[4].labels, "gone", "x", "team", "t")
		r.want(t, r.deliver(t, msg, all...), Result{Delivered: samples(3), Status: 200})
		slices.Sort(server.taken)
		want := `{__name__="m0", prometheus_replica="a", seen="yes"} {__name__="m4", prometheus_replica="a", seen="yes"} {__name__="two", prometheus_replica="a", seen="yes"}`
		if got := strings.Join(server.got(), " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if n := r.metric(t, "ringside_relay_samples_total", `outcome="filtered"`); n != 2 || r.Status().Samples["filtered"] != 2 {
			t.Errorf("%v filtered", n)
		}
		r = newRig(t, at(server)+"write_relabel_configs: [{action: drop, regex: '.*'}]")
		r.want(t, r.deliver(t, msg, all...), Result{Status: 200})
		if n := len(server.all()); n != 2 {
			t.Errorf("%d requests, the last with nothing in it", n)
		}
	})
}

// TestStaleMarkers of series that were handed over go, where the other member
// writes the same series; all others stay.
func TestStaleMarkers(t *testing.T) {
	both(t, func(t *testing.T, msg wire.Message) {
		stale := math.Float64frombits(value.StaleNaN)
		all := []point{
			{labels: []string{"__name__", "live", "job", "handed"}},
			{labels: []string{"__name__", "ends", "job", "mine"}, values: []float64{stale}},
			{labels: []string{"__name__", "ends", "job", "handed", replicaLabel, "a"}, values: []float64{stale}},
			{labels: []string{"__name__", "mixed", "job", "handed"}, values: []float64{1, stale}},
			{labels: []string{"__name__", "twice", "job", "handed"}, values: []float64{stale, stale}},
		}
		var mu sync.Mutex
		var asked []string
		handedOver := func(o *Options) {
			o.HandedOver = func(l labels.Labels) bool {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, l.String())
				return l.Get("job") == "handed"
			}
		}
		server := newReceiver(t, nil)
		r := newRig(t, at(server)+"replica_label: drop", handedOver)
		r.want(t, r.deliver(t, msg, all...), Result{Delivered: samples(3), Status: 200})
		if got, want := strings.Join(server.got(), " "), `{__name__="live", job="handed"} {__name__="ends", job="mine"} {__name__="mixed", job="handed"}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if n := server.all()[0].counts.Samples; n != 3 {
			t.Errorf("%d samples were sent", n)
		}
		if want := `[{__name__="ends", job="mine"} {__name__="ends", job="handed"} {__name__="mixed", job="handed"} {__name__="twice", job="handed"}]`; fmt.Sprint(asked) != want {
			t.Errorf("asked %s\nwant  %s", asked, want)
		}
		if n := r.metric(t, "ringside_relay_samples_total", `outcome="suppressed"`); n != 4 {
			t.Errorf("%v suppressed", n)
		}
		r = newRig(t, at(server), handedOver)
		r.want(t, r.deliver(t, msg, all...), Result{Delivered: samples(7), Status: 200})
	})
}

// TestSuppressedOnce: what is sent again later is not counted twice.
func TestSuppressedOnce(t *testing.T) {
	stale := point{labels: []string{"__name__", "x"}, values: []float64{math.Float64frombits(value.StaleNaN)}}
	var status atomic.Int32
	status.Store(503)
	server := newReceiver(t, func(received) reply { return reply{status: int(status.Load())} })
	r := newRig(t, at(server)+"replica_label: drop", func(o *Options) {
		o.HandedOver = func(l labels.Labels) bool { return l.Get("__name__") == "x" }
	})
	r.deliver(t, wire.V1, stale, points(1)[0])
	status.Store(204)
	r.deliver(t, wire.V1, stale, points(1)[0])
	if n := r.metric(t, "ringside_relay_samples_total", `outcome="suppressed"`); n != 1 {
		t.Errorf("%v suppressed", n)
	}
}

// TestPlacement: series go where a ring over the labels as they are sent has them.
func TestPlacement(t *testing.T) {
	both(t, func(t *testing.T, msg wire.Message) {
		servers := []*receiver{newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)}
		for _, tc := range []struct{ text, tenant string }{
			{"replication_factor: 1", thanosTenant},
			{"replication_factor: 2\ntenant: {header: THANOS-TENANT, value: team-a}", "team-a"},
			{"hashring: {algorithm: hashmod}\nreplication_factor: 2", thanosTenant},
			{"replication_factor: 2\nwrite_relabel_configs: [{source_labels: [__name__], target_label: copy}]", thanosTenant},
		} {
			r := newRig(t, at(servers...)+tc.text)
			var members []hashring.Endpoint
			for _, s := range servers {
				members = append(members, hashring.Endpoint{Address: s.URL + "/write"})
				s.forget()
			}
			ring, err := hashring.New(r.config.Hashring.algorithm(), members, r.config.ReplicationFactor)
			if err != nil {
				t.Fatal(err)
			}
			r.deliver(t, msg, points(50)...)
			want := map[string][]string{}
			for i := range 50 {
				l := labels.FromStrings("__name__", fmt.Sprintf("m%d", i), replicaLabel, "a")
				if len(r.config.WriteRelabelConfigs) > 0 {
					l = labels.FromStrings("__name__", fmt.Sprintf("m%d", i), "copy", fmt.Sprintf("m%d", i), replicaLabel, "a")
				}
				var key []byte
				l.Range(func(l labels.Label) { key = fmt.Appendf(key, "%s\xff%s\xff", l.Name, l.Value) })
				for _, owner := range ring.Owners(hashring.Hash(tc.tenant, key), nil) {
					address := ring.Endpoints()[owner].Address
					want[address] = append(want[address], l.String())
				}
			}
			for _, s := range servers {
				if !slices.Equal(s.got(), want[s.URL+"/write"]) {
					t.Errorf("%s: %s has %d, want %d", tc.text, s.URL, len(s.got()), len(want[s.URL+"/write"]))
				}
			}
		}
	})
}
