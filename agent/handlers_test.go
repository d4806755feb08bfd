package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine stands in for scrape.
type engine struct {
	status   scrape.Status
	report   scrape.DrainReport
	err      error
	interval time.Duration
	drained  time.Duration // the time that the last drain was given
}

func (e *engine) Status() *scrape.Status         { return &e.status }
func (e *engine) LongestInterval() time.Duration { return e.interval }
func (e *engine) Drain(ctx context.Context) (scrape.DrainReport, error) {
	deadline, _ := ctx.Deadline()
	e.drained = time.Until(deadline)
	return e.report, e.err
}

// world is what the handlers under test see.
type world struct {
	engine   engine
	snapshot gossip.Snapshot
	config   reloadStatus
	reload   error
	options  Options
	quit     bool // was asked for
}

func (w *world) handler() http.Handler {
	s := &state{
		cluster:  "prod",
		scrape:   &w.engine,
		snapshot: func() *gossip.Snapshot { return &w.snapshot },
		config:   func() reloadStatus { return w.config },
	}
	h := &handlers{
		state:   s,
		peers:   newPeers(s, func() bool { return false }),
		web:     webConfig{w.options.WebConfigFile},
		drainer: &w.engine,
		reload:  func(context.Context) error { return w.reload },
		quit:    func() { w.quit = true },
		relay:   func() relay.Status { return relay.Status{ListenAddress: "127.0.0.1:9591"} },
		uploads: func() uploader.Status {
			return uploader.Status{Bucket: &uploader.BucketStatus{Type: "S3", Name: "blocks", Error: "no such host"}}
		},
		gatherer:  prometheus.NewRegistry(),
		lifecycle: w.options.EnableLifecycle,
		pprof:     w.options.EnablePprof,
		logger:    log.NewNopLogger(),
	}
	return h.routes()
}

// ask makes a request such as "POST /-/reload"; without a method it is a GET.
func (w *world) ask(request string) *httptest.ResponseRecorder {
	method, path, ok := strings.Cut(request, " ")
	if !ok {
		method, path = http.MethodGet, request
	}
	rec := httptest.NewRecorder()
	w.handler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec
}

func member(name string, s gossip.State, view, applied uint64) gossip.Member {
	return gossip.Member{Name: name, Facts: gossip.Facts{State: s, View: view, AppliedView: applied}}
}

func TestAnswers(t *testing.T) {
	lifecycle := Options{EnableLifecycle: true}
	for _, tc := range []struct {
		name, request string
		world         world
		status        int
		want          string
	}{
		{"healthy", "/-/healthy", world{}, 200, "healthy"},
		{"ready", "/-/ready", world{}, 200, "ready"},
		{"not ready", "/-/ready", world{engine: engine{status: scrape.Status{NotReady: []string{"first", "second"}}}}, 503, "first\nsecond\n"},
		{"reload", "POST /-/reload", world{}, 200, "reloaded"},
		{"reload of a bad file", "POST /-/reload", world{reload: errors.New("ringside.yml:3: bad")}, 500, "ringside.yml:3: bad"},
		{"reload by GET", "/-/reload", world{}, 405, ""},
		{"drain without the flag", "/-/drain", world{}, 403, `--web.enable-lifecycle`},
		{"drain, bad timeout", "/-/drain?timeout=soon", world{options: lifecycle}, 400, `"errorType":"bad_data"`},
		{"drain, no time", "/-/drain?timeout=0s", world{options: lifecycle}, 400, `"errorType":"bad_data"`},
		{"drain, too long", "/-/drain?timeout=2h", world{options: lifecycle}, 400, `"errorType":"bad_data"`},
		{
			"drain", "POST /-/drain",
			world{options: lifecycle, engine: engine{report: scrape.DrainReport{Targets: 3, Handed: map[string]int{"b": 2, "c": 1}}}},
			200,
			`{"status":"success","data":{"targets":3,"handed":{"b":2,"c":1},"unconfirmed":[],"message":"handed over 3 targets"}}`,
		},
		{"drain by GET", "/-/drain", world{options: lifecycle}, 200, `"status":"success"`},
		{"drain by HEAD", "HEAD /-/drain", world{options: lifecycle}, 405, ""},
		{"drain of one", "/-/drain", world{options: lifecycle, engine: engine{report: scrape.DrainReport{Targets: 1, Handed: map[string]int{"b": 1}}}}, 200, `"handed over 1 target"`},
		{"quit", "POST /-/quit", world{options: lifecycle}, 200, "ends"},
		{"quit as Prometheus has it too", "PUT /-/quit", world{options: lifecycle}, 200, "ends"},
		{"quit without the flag", "POST /-/quit", world{}, 403, `--web.enable-lifecycle`},
		{"quit by GET", "/-/quit", world{options: lifecycle}, 405, ""},
		{"drain, alone", "/-/drain", world{options: lifecycle, engine: engine{report: scrape.DrainReport{Targets: 1, Alone: true, Unconfirmed: []string{"http://a/"}}}}, 200, `nobody is there to take its targets`},
		{"drain, Prometheus gone", "/-/drain", world{options: lifecycle, engine: engine{report: scrape.DrainReport{PrometheusGone: true}}}, 200, `Prometheus has gone`},
		{"drain, time is up", "/-/drain?timeout=1s", world{options: lifecycle, engine: engine{
			report: scrape.DrainReport{Targets: 2, Unconfirmed: []string{"http://a/"}}, err: scrape.ErrUnconfirmed,
		}}, 503, `{"status":"error","data":{"targets":2,"handed":{},"unconfirmed":["http://a/"]},"errorType":"timeout","error":"hand over: 1 of 2 targets were not seen to be taken over: http://a/"}`},
		{"page too small", "/api/v1/status/targets?page=0", world{}, 400, `page=\"0\": give a whole number from 1`},
		{"per_page too large", "/api/v1/status/targets?per_page=1001", world{}, 400, `from 1 to 1000`},
		{"per_page no number", "/api/v1/status/targets?per_page=x", world{}, 400, `"errorType":"bad_data"`},
		{"no targets", "/api/v1/status/targets?page=2&per_page=7", world{}, 200, `{"status":"success","data":{"total":0,"page":2,"per_page":7,"targets":[]}}`},
		{"explain nothing", "/api/v1/explain", world{}, 400, `target is missing`},
		{"explain unknown", "/api/v1/explain?target=x", world{}, 200, `{"status":"success","data":[]}`},
		{"relay", "/api/v1/status/relay", world{}, 200, `{"status":"success","data":{"listen_address":"127.0.0.1:9591"`},
		{"uploads", "/api/v1/status/uploads", world{}, 200, `{"status":"success","data":{"bucket":{"type":"S3","name":"blocks","reachable":false,"error":"no such host"}`},
		{"no such path", "/api/v1/x", world{}, 404, `"errorType":"not_found"`},
		{"no GET", "POST /api/v1/status/cluster", world{}, 405, ""},
		{"not found", "/x", world{}, 404, ""},
		{"no pprof", "/debug/pprof/", world{}, 404, ""},
		{"pprof", "/debug/pprof/", world{options: Options{EnablePprof: true}}, 200, "heap"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := tc.world.ask(tc.request)
			if quits := rec.Code == 200 && strings.HasSuffix(tc.request, "/-/quit"); tc.world.quit != quits {
				t.Errorf("%s: asked to end: %v, want %v", tc.request, tc.world.quit, quits)
			}
			if drains := rec.Code == 405; drains && tc.world.engine.drained != 0 {
				t.Errorf("%s drains", tc.request)
			}
			if rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.want) {
				t.Errorf("%s answers %d %s; want %d %s", tc.request, rec.Code, rec.Body, tc.status, tc.want)
			}
			if rec.Code == http.StatusMethodNotAllowed && rec.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if rec.Header().Get("X-Content-Type-Options") != "nosniff" || rec.Header().Get("Content-Security-Policy") == "" {
				t.Errorf("headers %v; want nosniff and a content security policy", rec.Header())
			}
		})
	}
}

func TestDrainTimeout(t *testing.T) {
	for _, tc := range []struct {
		query string
		want  time.Duration
	}{
		{"", 150 * time.Second},
		{"?timeout=5s", 5 * time.Second},
		{"?timeout=2.5", 2500 * time.Millisecond},
	} {
		w := world{engine: engine{interval: time.Minute}, options: Options{EnableLifecycle: true}}
		w.ask("/-/drain" + tc.query)
		if w.engine.drained > tc.want || w.engine.drained < tc.want-time.Second {
			t.Errorf("%q gives the drain %s; want %s", tc.query, w.engine.drained, tc.want)
		}
	}
}

// bounded is a recorder that bounds the time for the request's body.
type bounded struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (b *bounded) SetReadDeadline(until time.Time) error {
	b.until = until
	return nil
}

// TestBodyIsNotWaitedFor has clients that announce a body, which the server waits for before it answers.
func TestBodyIsNotWaitedFor(t *testing.T) {
	w := world{}
	for body, want := range map[string]bool{"": false, "x": true} {
		rec := &bounded{ResponseRecorder: httptest.NewRecorder()}
		w.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/-/reload", strings.NewReader(body)))
		if is := !rec.until.IsZero() && time.Until(rec.until) <= bodyTimeout; is != want {
			t.Errorf("with the body %q until %s", body, rec.until)
		}
	}
}

// TestCrossOrigin keeps other sites' pages from changing anything.
func TestCrossOrigin(t *testing.T) {
	w := world{options: Options{EnableLifecycle: true}}
	for _, request := range []string{"POST /-/reload", "POST /-/drain", "GET /-/drain", "POST /-/quit", "PUT /-/quit"} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		rec := httptest.NewRecorder()
		w.handler().ServeHTTP(rec, r)
		if rec.Code != http.StatusForbidden {
			t.Errorf("%s from another site answers %d; want 403", request, rec.Code)
		}
	}
}

func TestClusterFields(t *testing.T) {
	w := world{
		engine: engine{status: scrape.Status{Facts: scrape.Facts{
			State: scrape.Active, PrometheusReady: true, Targets: 4, Series: 1000, CapacitySeries: 5000, ConfigHash: 0xabc, View: 1, AppliedView: 1,
		}}},
		snapshot: gossip.Snapshot{Self: "b", Known: true, Encrypted: true, Problems: []string{"a foreign label"}, Members: []gossip.Member{
			{Name: "a", Address: "10.0.0.1:7946", Facts: gossip.Facts{Zone: "z1", HTTPAddress: "10.0.0.1:9590", Version: "0.1", State: gossip.Active, View: 1, AppliedView: 1}},
			{Name: "b", Address: "10.0.0.2:7946", Facts: gossip.Facts{Zone: "z2", HTTPAddress: "10.0.0.2:9590", Version: "0.2", State: gossip.Joining}},
			{Name: "c", Facts: gossip.Facts{State: gossip.Dead, PrometheusReady: true, Targets: 7, Series: 70, View: 9, AppliedView: 9}},
		}},
	}
	want := `{"status":"success","data":{"cluster":"prod","self":"b","settled":true,"view":"0000000000000001","known":true,"frozen":false,"encrypted":true,"problems":["a foreign label"],"members":[` +
		`{"name":"a","zone":"z1","address":"10.0.0.1:7946","http_address":"10.0.0.1:9590","state":"active","prometheus_ready":false,"targets":0,"series":0,"capacity_series":0,"config_hash":"","view":"0000000000000001","applied_view":"0000000000000001","version":"0.1"},` +
		`{"name":"b","zone":"z2","address":"10.0.0.2:7946","http_address":"10.0.0.2:9590","state":"active","prometheus_ready":true,"targets":4,"series":1000,"capacity_series":5000,"config_hash":"0000000000000abc","view":"0000000000000001","applied_view":"0000000000000001","version":"0.2"},` +
		`{"name":"c","zone":"","address":"","http_address":"","state":"dead","prometheus_ready":false,"targets":0,"series":0,"capacity_series":0,"config_hash":"","view":"0000000000000009","applied_view":"","version":""}],"moves":[]}}`
	if got := strings.TrimSpace(w.ask("/api/v1/status/cluster").Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSettled(t *testing.T) {
	for _, tc := range []struct {
		name    string
		members []gossip.Member
		want    string // what Unsettled says, in part
	}{
		{"one", []gossip.Member{member("a", gossip.Active, 1, 1)}, ""},
		{"two alike", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Active, 1, 1)}, ""},
		{"those that have gone do not matter", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Dead, 2, 0), member("c", gossip.Left, 3, 0)}, ""},
		{"an unready one owns nothing", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Unready, 2, 0)}, ""},
		{"different views", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Active, 2, 2)}, "different views"},
		{"not applied", []gossip.Member{member("a", gossip.Active, 1, 0)}, "a has yet to be seen"},
		{"no view", []gossip.Member{member("a", gossip.Active, 0, 0)}, "a has yet to be seen"},
		{"joining", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Joining, 0, 0)}, "b is joining"},
		{"draining", []gossip.Member{member("a", gossip.Active, 1, 1), member("b", gossip.Draining, 1, 1)}, "b is draining"},
		{"nobody active", []gossip.Member{member("a", gossip.Unready, 1, 1)}, "no member is active"},
		{"nobody", nil, "no member is active"},
	} {
		if got := unsettled(tc.members); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestLoadRatio(t *testing.T) {
	load := func(name string, s gossip.State, series, capacity int64) gossip.Member {
		return gossip.Member{Name: name, Facts: gossip.Facts{State: s, Series: series, CapacitySeries: capacity}}
	}
	own := engine{status: scrape.Status{Facts: scrape.Facts{State: scrape.Active, Series: 100, CapacitySeries: 1000}}}
	s := &state{scrape: &own, snapshot: func() *gossip.Snapshot {
		return &gossip.Snapshot{Self: "me", Members: []gossip.Member{
			load("a", gossip.Active, 500, 1000), load("b", gossip.Active, 9999, 0), load("c", gossip.Draining, 9999, 1000), load("d", gossip.Dead, 9999, 1000),
		}}
	}}
	if got := s.loadRatio(); got != 0.3 {
		t.Errorf("ratio %v, want 0.3: 600 series of 2000", got)
	}
	own.status.CapacitySeries = 0
	s.snapshot = func() *gossip.Snapshot { return &gossip.Snapshot{Self: "me"} }
	if got := s.loadRatio(); got != 0 {
		t.Errorf("ratio %v without any capacity, want 0", got)
	}
}

func TestSourceConfigs(t *testing.T) {
	with := func(name string, s gossip.State, hash uint64) gossip.Member {
		return gossip.Member{Name: name, Facts: gossip.Facts{State: s, ConfigHash: hash}}
	}
	own := engine{status: scrape.Status{Facts: scrape.Facts{State: scrape.Active, ConfigHash: 1}}}
	members := []gossip.Member{with("a", gossip.Active, 1), with("b", gossip.Joining, 2), with("c", gossip.Dead, 3)}
	s := &state{scrape: &own, snapshot: func() *gossip.Snapshot { return &gossip.Snapshot{Self: "me", Members: members} }}
	if got := s.sourceConfigs(); got != 1 {
		t.Errorf("%v source configurations, want the 1 of those that are active", got)
	}
	members = append(members, with("d", gossip.Active, 4))
	if got := s.sourceConfigs(); got != 2 {
		t.Errorf("%v source configurations, want 2", got)
	}
}

func TestConfigEndpoint(t *testing.T) {
	inForce := config.Default
	w := world{config: reloadStatus{inForce: inForce, needsRestart: []string{"cluster"}, err: errors.New("ringside.yml:1: bad")}}
	var answer struct {
		Data struct {
			YAML         string
			NeedsRestart []string `json:"needs_restart"`
			LastError    string   `json:"last_error"`
		}
	}
	if err := json.Unmarshal(w.ask("/api/v1/status/config").Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if d := answer.Data; !strings.Contains(d.YAML, "replica_label: prometheus_replica\n") || d.LastError != "ringside.yml:1: bad" || len(d.NeedsRestart) != 1 {
		t.Errorf("got %+v", d)
	}
}
