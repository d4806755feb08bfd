package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

func urls(r *rig) []string {
	var all []string
	for _, e := range r.Status().Endpoints {
		all = append(all, strings.TrimSpace(e.URL+" "+e.AZ))
	}
	return all
}

func (r *rig) wantEndpoints(t *testing.T, want ...string) {
	t.Helper()
	if got := urls(r); !slices.Equal(got, want) {
		t.Errorf("endpoints %s, want %s", got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const fileConfig = "hashring: {file: %s, url: 'http://any:19291/w?token=s3cret'}\nreplication_factor: 1"

// TestHashringFile: a file that cannot be used leaves the last good one in
// force, and says so until there is a good one.
func TestHashringFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hashrings.json")
	if _, err := tryRig(t, fmt.Sprintf(fileConfig, path)); err == nil || !strings.Contains(err.Error(), "hashring file "+path+": open ") {
		t.Errorf("without a file: %v", err)
	}
	write(t, path, `[{"endpoints": ["a:10901", "b:10901"]}]`)
	r := newRig(t, fmt.Sprintf(fileConfig, path))
	both := []string{"http://a:19291/w", "http://b:19291/w"}
	r.wantEndpoints(t, both...)
	series := func(endpoint string) float64 {
		return r.metric(t, "ringside_relay_endpoint_samples_total", `endpoint="http://`+endpoint+`:19291/w"`)
	}
	for _, tc := range []struct{ name, text, err string }{
		{"broken", `[{"endpoints": ["c:10901"`, "hashring file " + path + ": line 1: unexpected end of JSON input"},
		{"emptied", "", "no hashring; write at least one"},
		{"an empty list", "[]", "no hashring; write at least one"},
		{"no endpoints", `[{"endpoints": []}]`, "hashring 1: endpoints: none"},
		{"two for one URL", `[{"endpoints": ["a:10901", "a:10902"]}]`, "endpoints a:10901 and a:10902 lead to the same URL"},
		{"credentials", `[{"endpoints": ["http://u:s3cret@c/?x=s3cret"]}]`, "endpoint c/: holds credentials"},
		{"gone", "-", "open "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.text == "-" {
				os.Remove(path)
			} else {
				write(t, path, tc.text)
			}
			for range 2 {
				_ = r.loadFile()
			}
			s := r.Status()
			if s.Hashring.File != path || !strings.Contains(s.Hashring.Error, tc.err) || s.Hashring.Loaded == nil {
				t.Errorf("status %+v", s.Hashring)
			}
			r.wantEndpoints(t, both...)
			if good := r.metric(t, "ringside_relay_hashring_last_reload_successful", `upstream="receive"`); good != 0 {
				t.Errorf("the metric is %v", good)
			}
			if strings.Contains(r.log.String()+s.Hashring.Error, "s3cret") {
				t.Errorf("a secret is told: %s\n%s", s.Hashring.Error, r.log)
			}
		})
	}
	if n := strings.Count(r.log.String(), "those known before stay in use"); n != 6 {
		t.Errorf("%d lines:\n%s", n, r.log)
	}
	old := r.placement.Load().members["b:10901"].endpoint
	write(t, path, `[{"endpoints": [{"address": "b:10901", "az": "z"}, "http://c/w?token=s3cret"]}]`)
	if err := r.loadFile(); err != nil {
		t.Fatal(err)
	}
	r.wantEndpoints(t, "http://b:19291/w z", "http://c/w")
	if r.placement.Load().members["b:10901"].endpoint != old {
		t.Error("what is known of an endpoint that stays is lost")
	}
	if series("a") >= 0 || series("b") != 0 || r.metric(t, "ringside_relay_breaker_open", "http://a:") >= 0 {
		t.Error("metrics of endpoints that went are still there, or those of others are not")
	}
	if s := r.Status(); s.Hashring.Error != "" || r.metric(t, "ringside_relay_hashring_last_reload_successful", "") != 1 {
		t.Errorf("status %+v", s.Hashring)
	}
}

// TestHashringTenants: each tenant has its ring; one without any fails, and
// does not hold up the others.
func TestHashringTenants(t *testing.T) {
	a, b := newReceiver(t, nil), newReceiver(t, nil)
	path := filepath.Join(t.TempDir(), "hashrings.json")
	write(t, path, fmt.Sprintf(`[{"tenants": ["red"], "endpoints": [%q]}, {"tenants": ["default-tenant"], "endpoints": [%q]}]`, a.URL, b.URL))
	r := newRig(t, "tenant: {header: THANOS-TENANT, label: team}\nhashring: {file: "+path+"}")
	got := r.deliver(t, wire.V1,
		point{labels: []string{"__name__", "x", "team", "red"}}, point{labels: []string{"__name__", "y"}}, point{labels: []string{"__name__", "z", "team", "blue"}})
	r.want(t, got, Result{Delivered: samples(2), Failed: samples(1), Status: 503, Reason: `no hashring for tenant "blue"`})
	if fmt.Sprint(a.got(), b.got()) != `[{__name__="x", prometheus_replica="a"}] [{__name__="y", prometheus_replica="a"}]` {
		t.Errorf("a has %s, b has %s", a.got(), b.got())
	}
}

// TestHashringWatched: a change is seen at once, in place and by a swap of
// links as Kubernetes does it.
func TestHashringWatched(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "hashrings.json"), text)
		tmp := filepath.Join(dir, "tmp")
		if err := errors.Join(os.Symlink(name, tmp), os.Rename(tmp, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("1", `[{"endpoints": ["a"]}]`)
	path := filepath.Join(dir, "hashrings.json")
	if err := os.Symlink(filepath.Join("..data", "hashrings.json"), path); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, fmt.Sprintf(fileConfig, path))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	within := func(want string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if slices.Equal(urls(r), []string{want}) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("endpoints %s, want %s", urls(r), want)
			}
		}
	}
	within("http://a:19291/w")
	// Until the watch has begun a change may go unseen for filePoll; so there are several.
	for n := 2; !slices.Equal(urls(r), []string{"http://b:19291/w"}); n++ {
		version(fmt.Sprint(n), `[{"endpoints": ["b"]}]`)
		time.Sleep(3 * writeTime)
		if n > 50 {
			t.Fatal("a swap of links is not seen")
		}
	}
	write(t, filepath.Join(dir, "..data", "hashrings.json"), `[{"endpoints": ["c"]}]`)
	write(t, filepath.Join(dir, "touch"), "")
	within("http://c:19291/w")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// names is a DNS server.
type names struct {
	mu      sync.Mutex
	records map[string][]*net.SRV
	err     error
}

func (n *names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil || service+proto != "" {
		return "", nil, n.err
	}
	return name, n.records[name], nil
}

// TestNames: names are resolved at the start and every 30 s, and keep their
// last answer when DNS fails.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "endpoints: ['http://fixed:1/w', {address: 'dnssrv+https://_http._tcp.receive.svc/w?k=v', az: z}]\nreplication_factor: 2")
		r.transport = memory{"r-0.svc": received.ok, "r-1.svc": received.ok, "r-2.svc": received.ok, "fixed": received.ok}
		dns := &names{err: errors.New("server misbehaving")}
		r.source.dns = dns
		r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 503, Reason: "receive: its endpoints have not been resolved yet"})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 503, Reason: "no endpoints: resolve _http._tcp.receive.svc: server misbehaving"})

		step := func(err error, want []string, records ...*net.SRV) {
			t.Helper()
			dns.mu.Lock()
			dns.err, dns.records = err, map[string][]*net.SRV{"_http._tcp.receive.svc": records}
			dns.mu.Unlock()
			time.Sleep(dnsInterval)
			synctest.Wait()
			r.wantEndpoints(t, want...)
			if s := r.Status(); (s.Hashring.Error != "") != (err != nil || len(records) == 0) {
				t.Errorf("status %+v", s.Hashring)
			}
		}
		three := []string{"http://fixed:1/w", "https://r-0.svc:19291/w z", "https://r-1.svc:8080/w z"}
		step(nil, three, &net.SRV{Target: "r-1.svc.", Port: 8080}, &net.SRV{Target: "r-0.svc.", Port: 19291})
		r.want(t, r.deliver(t, wire.V1, points(9)...), Result{Delivered: samples(9), Status: 200})
		kept := r.placement.Load()
		step(nil, three, &net.SRV{Target: "r-0.svc.", Port: 19291}, &net.SRV{Target: "r-1.svc.", Port: 8080})
		step(errors.New("timeout"), three)
		step(nil, three)
		if r.placement.Load() != kept {
			t.Error("the same answer in another order changes something")
		}
		step(nil, []string{"http://fixed:1/w", "https://r-2.svc:19291/w z"}, &net.SRV{Target: "r-2.svc.", Port: 19291})
		r.want(t, r.deliver(t, wire.V1, points(9)...), Result{Delivered: samples(9), Status: 200})
		if n := r.metric(t, "ringside_relay_endpoint_samples_total", "r-0.svc"); n >= 0 {
			t.Error("the metrics of an endpoint that went are still there")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestTooFewNames: fewer endpoints than copies are none at all.
func TestTooFewNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "endpoints: ['dnssrv+http://_http._tcp.receive.svc/w']\nreplication_factor: 2")
		r.source.dns = &names{records: map[string][]*net.SRV{"_http._tcp.receive.svc": {{Target: "a.", Port: 1}}}}
		r.resolve(t.Context())
		r.want(t, r.deliver(t, wire.V1, points(1)...), Result{Failed: samples(1), Status: 503, Reason: "receive: no endpoints: replication factor: 2; with 1 endpoints it must be from 1 to 1"})
	})
}
