package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// relayed is a pair that relays two copies of each series to two Thanos Receives,
// and a sender that writes through the same relay.
type relayed struct {
	*thanos
	pair   *Pair
	sender *sender
}

func newRelayed(t *testing.T) *relayed {
	t.Helper()
	needsThanos(t)
	e := newExporter(t)
	r := newRig(t, setup{pairs: 1, targets: 20, replicas: 1, source: fileSource(interval) + e.jobs(false)})
	th, pair := r.thanos(2), r.Pairs[0]
	r.relayTo(fmt.Sprintf("- name: thanos\n  endpoints: [%s, %s]\n  replication_factor: 2", th.writeURL(0), th.writeURL(1)))
	r.up(pair)
	return &relayed{thanos: th, pair: pair, sender: r.send(r.relayURL(pair), "1.0", "2.0")}
}

// One of two Receives is killed and comes back, then both are away for 30 s: all
// that was acknowledged is there, and all that Prometheus has committed.
func TestRelayToThanos(t *testing.T) {
	t.Parallel()
	r := newRelayed(t)
	r.watch(5 * interval)
	first := r.holds(20 * time.Second)

	victim := r.receives[0]
	victim.Kill()
	r.event("killed %s", victim.Name)
	r.watch(20 * time.Second)
	last, longest := r.sender.progress()
	if since(last) > 2*time.Second {
		t.Errorf("with one of two Receives nothing was acknowledged for %s", since(last))
	}
	r.launch(victim)
	r.event("%s is back", victim.Name)
	r.watch(5 * interval)
	second := r.holds(20 * time.Second)

	for _, u := range r.receives {
		u.Kill()
	}
	r.event("killed both")
	r.watch(30 * time.Second)
	if last, _ := r.sender.progress(); since(last) < 28*time.Second {
		t.Errorf("something was acknowledged %s ago, when nobody was there", since(last))
	}
	for _, u := range r.receives {
		r.launch(u)
	}
	back := time.Now()
	r.event("both are back")
	again := r.await(40*time.Second, "acknowledged", func() error {
		if last, _ := r.sender.progress(); last.Before(back) {
			return fmt.Errorf("the last one %s ago", since(last))
		}
		return nil
	})
	third := r.holds(60 * time.Second)
	caughtUp := since(back)
	sent, copies := r.allSent()
	r.measured("all %d samples of %d series that Prometheus had committed are there (%d before the first kill, %d after it); all %d that a sender was told are written, by count_over_time, in %d copies",
		third.count(), len(third), first.count(), second.count(), sent, copies)
	r.measured("with one of two killed, a request took %s at most; after 30s without both acknowledged again after %s, caught up after %s",
		longest.Round(time.Millisecond), again.Round(10*time.Millisecond), caughtUp)
}

// One of two Receives stands still for 20 s, takes connections, and answers
// nothing: it holds up nobody, and costs no sample.
func TestRelayToHangingThanos(t *testing.T) {
	t.Parallel()
	r := newRelayed(t)
	r.watch(3 * interval)
	r.pause(r.receives[0], 20*time.Second)
	last, longest := r.sender.progress()
	if since(last) > 2*time.Second || longest > 4*time.Second {
		t.Errorf("while one of two Receives stood still, nothing was acknowledged for %s, and a request took %s", since(last), longest)
	}
	r.watch(3 * interval)
	all := r.holds(20 * time.Second)
	sent, copies := r.allSent()
	r.measured("all %d samples that Prometheus had committed are there, and all %d that a sender was told are written, in %d copies; a request took %s at most",
		all.count(), sent, copies, longest.Round(time.Millisecond))
}

// relayURL is where the sidecar of a pair takes remote_write.
func (r *rig) relayURL(pair *Pair) string {
	r.Helper()
	var status struct {
		ListenAddress string `json:"listen_address"`
	}
	if err := pair.api(r.Context(), "/api/v1/status/relay", &status); err != nil {
		r.Fatal(err)
	}
	return "http://" + status.ListenAddress + "/api/v1/write"
}

// holds waits until the Query gives exactly the answers that the Prometheus of the
// pair does, of the time up to now, and returns what they hold.
func (r *relayed) holds(within time.Duration) stored {
	r.Helper()
	in := span{r.started.UnixMilli(), time.Now().UnixMilli()}
	var want stored
	r.await(within, "equal", func() error {
		r.watch(500 * time.Millisecond) // between two looks at all there is
		var err error
		if want, err = queryAll(r.Context(), r.pair.Prometheus.URL, `{job!=""}`, in, r.withReplica); err != nil {
			return err
		}
		got, err := queryAll(r.Context(), r.query.URL, `{job!=""}`, in, func(lset map[string]string) { delete(lset, "tenant_id") })
		if err != nil {
			return err
		}
		missing, extra := want.without(got), got.without(want)
		if len(want) == 0 || len(missing)+len(extra) > 0 {
			return fmt.Errorf("of %d samples Thanos lacks %s; of its own it has %s", want.count(), missing.example(), extra.example())
		}
		return nil
	})
	return want
}

// withReplica adds the replica label as an external label is added.
func (r *relayed) withReplica(lset map[string]string) {
	if lset[replicaLabel] == "" {
		lset[replicaLabel] = r.pair.Name
	}
}

// allSent stops the sender and fails the test unless the Query holds exactly what
// was acknowledged: each sample by its value, and by count_over_time, with both
// copies as one. It returns how many samples that is, and how many when each copy
// counts.
func (r *relayed) allSent() (sent, copies int) {
	r.Helper()
	want, err := r.sender.stop()
	if err != nil {
		r.Errorf("the sender was refused: %v", err)
	}
	in := span{r.started.UnixMilli(), time.Now().UnixMilli()}
	selector := fmt.Sprintf("%s{%s=%q}", sentMetric, replicaLabel, r.pair.Name)
	got, err := queryAll(r.Context(), r.query.URL, selector, in, func(lset map[string]string) {
		maps.DeleteFunc(lset, func(name, _ string) bool { return name == "tenant_id" || name == replicaLabel })
	})
	if err != nil {
		r.Fatal(err)
	}
	if missing, extra := want.without(got), got.without(want); len(missing)+len(extra) > 0 {
		r.Errorf("of %d acknowledged samples Thanos lacks %s; of others it has %s", want.count(), missing.example(), extra.example())
	}
	once, copies := r.count(selector, in, true), r.count(selector, in, false)
	if once != want.count() {
		r.Errorf("count_over_time finds %d samples, %d were acknowledged", once, want.count())
	}
	return once, copies
}

// count returns how many samples the Query counts.
func (t *thanos) count(selector string, in span, dedup bool) (n int) {
	t.Helper()
	counts, err := counted(t.Context(), t.query.URL, selector, in, dedup)
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range counts {
		n += count
	}
	return n
}

// A placement is how an upstream of the relay places series, and with it a router
// of Thanos.
type placement struct {
	name      string
	algorithm string
	replicas  int
	hashrings string              // with R0, R1 and R2 for the Receives
	tenant    string              // of the upstream's config
	tenantOf  func(id int) string // for the router
}

var placements = []placement{
	{name: "ketama", algorithm: "ketama", replicas: 1, hashrings: `[{"endpoints": ["R0", "R1", "R2"]}]`},
	{name: "hashmod", algorithm: "hashmod", replicas: 1, hashrings: `[{"endpoints": ["R2", "R1", "R0"]}]`},
	{
		name: "zones", algorithm: "ketama", replicas: 2,
		hashrings: `[{"endpoints": [{"address": "R0", "az": "a"}, {"address": "R1", "az": "a"}, {"address": "R2", "az": "b"}]}]`,
	},
	{
		name: "tenants", algorithm: "hashmod", replicas: 1,
		hashrings: `[{"tenants": ["one"], "endpoints": ["R0", "R1"]},
			{"tenants": ["t*"], "tenant_matcher_type": "glob", "algorithm": "ketama", "endpoints": ["R1", "R2"]},
			{"algorithm": "ketama", "endpoints": ["R0", "R1", "R2"], "shuffle_sharding_config": {"shard_size": 2}}]`,
		tenant:   "{header: THANOS-TENANT, label: tenant}",
		tenantOf: func(id int) string { return []string{"", "one", "two", "three", "four"}[id%5] },
	},
}

// The relay places series where a Thanos router with the same hashrings file does:
// written through the one and then through the other, each has both samples, on
// the same Receives.
func TestRelayPlacesAsThanos(t *testing.T) {
	t.Parallel()
	needsThanos(t)
	const series = 300
	r := newRig(t, setup{pairs: 1, targets: 1, replicas: 1})
	th, pair := r.thanos(3), r.Pairs[0]
	var upstreams strings.Builder
	routers := map[string]string{}
	for _, p := range placements {
		hashrings := p.hashrings
		for i := range th.receives {
			hashrings = strings.ReplaceAll(hashrings, fmt.Sprint("R", i), th.address(i))
		}
		if err := pair.WriteFile(p.name+".json", hashrings); err != nil {
			t.Fatal(err)
		}
		if p.tenant == "" {
			p.tenant = fmt.Sprintf("{header: THANOS-TENANT, value: %s}", p.name)
		}
		fmt.Fprintf(&upstreams, `- name: %s
  replication_factor: %d
  hashring: {file: %s.json, algorithm: %s, url: 'http://HOST:%d/api/v1/receive'}
  tenant: %s
  write_relabel_configs: [{source_labels: [__name__], regex: placed, action: keep}]
`, p.name, p.replicas, p.name, p.algorithm, th.write, p.tenant)
		routers[p.name] = th.router("router-"+p.name, hashrings, p.algorithm, p.replicas)
	}
	r.relayTo(upstreams.String())
	r.up(pair)

	now := time.Now().UnixMilli()
	relayed := placedPoints(series, now, func(int) bool { return true }, true)
	r.mustPost(r.relayURL(pair), "", relayed)
	for _, p := range placements {
		if p.tenantOf == nil {
			// Of these upstreams, the label tenant is one like any other.
			r.mustPost(routers[p.name], p.name, placedPoints(series, now+1, func(int) bool { return true }, true))
			continue
		}
		for _, tenant := range []string{"", "one", "two", "three", "four"} {
			r.mustPost(routers[p.name], tenant, placedPoints(series, now+1, func(id int) bool { return p.tenantOf(id) == tenant }, false))
		}
	}
	for _, p := range placements {
		th.samePlaces(p, series, span{now, now + 1})
	}
}

func (r *rig) mustPost(url, tenant string, points []point) {
	r.Helper()
	r.await(20*time.Second, "written", func() error {
		status, err := post(url, "1.0", tenant, compressed(body("1.0", points)))
		if err == nil && status/100 != 2 {
			err = fmt.Errorf("%s: status %d", url, status)
		}
		return err
	})
}

// placedPoints returns a point of each of n series of which some are wanted, with
// or without the label tenant.
func placedPoints(n int, timestamp int64, wanted func(id int) bool, withTenant bool) []point {
	var points []point
	for id := range n {
		if !wanted(id) {
			continue
		}
		labels := append(seriesLabels(id), label{replicaLabel, replica})
		labels[0].value = "placed"
		if tenant := []string{"", "one", "two", "three", "four"}[id%5]; withTenant && tenant != "" {
			labels = append(labels, label{"tenant", tenant})
		}
		slices.SortFunc(labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
		points = append(points, point{labels: labels, value: float64(id), timestamp: timestamp})
	}
	return points
}

// samePlaces fails the test unless all series of a placement lie, with both
// samples, on as many Receives as they should, and each Receive has some.
func (t *thanos) samePlaces(p placement, series int, in span) {
	selector := fmt.Sprintf("placed{tenant_id=%q}", p.name)
	if p.tenantOf != nil {
		selector = `placed{tenant_id=~"default-tenant|one|two|three|four"}`
	}
	t.Helper()
	perReceive := map[string]int{}
	t.await(20*time.Second, "stored", func() error {
		clear(perReceive)
		result, err := ask(t.Context(), t.query.URL, fmt.Sprintf("%s[%dms]", selector, in.to-in.from+1), in.to, false)
		if err != nil {
			return err
		}
		for _, s := range result {
			perReceive[s.Metric["receive"]]++
			if len(s.Values) != 2 {
				return fmt.Errorf("%d samples of %v", len(s.Values), s.Metric)
			}
		}
		if len(result) != series*p.replicas || len(perReceive) != len(t.receives) {
			return fmt.Errorf("%d series on %v", len(result), perReceive)
		}
		return nil
	})
	t.measured("%s: %d series lie where a Thanos router puts them, replication factor %d: %v", p.name, series, p.replicas, perReceive)
}
