package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

// fakePrometheus answers as Prometheus's HTTP API does.
type fakePrometheus struct {
	mu        sync.Mutex
	up        bool
	lifecycle bool
	refuses   string    // what it says of its configuration; empty: it loads it
	started   time.Time // startTime
	loaded    time.Time // lastConfigTime
	reloads   int
	config    string // what it runs with
	hangs     bool   // in a reload
	stopping  bool
	deadline  string // --storage.remote.flush-deadline; empty: it does not tell its flags
	asked     int    // for its flags
	onReload  func() // called at each
}

func (f *fakePrometheus) set(change func(*fakePrometheus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakePrometheus) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	hangs := f.hangs && req.URL.Path == "/-/reload"
	f.mu.Unlock()
	if hangs {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.up {
		return nil, errors.New("connection refused")
	}
	status, body, header := http.StatusOK, "", http.Header{}
	switch req.URL.Path {
	case "/-/ready":
		header.Set("X-Prometheus-Stopping", fmt.Sprint(f.stopping))
		if f.stopping {
			status = http.StatusServiceUnavailable
		}
	case "/api/v1/status/flags":
		f.asked++
		if status = http.StatusNotFound; f.deadline != "" {
			status, body = http.StatusOK, fmt.Sprintf(`{"status":"success","data":{"storage.remote.flush-deadline":%q,"web.enable-lifecycle":"true"}}`, f.deadline)
		}
	case "/api/v1/status/runtimeinfo":
		body = fmt.Sprintf(`{"status":"success","data":{"startTime":%q,"reloadConfigSuccess":%v,"lastConfigTime":%q}}`,
			f.started.UTC().Format(time.RFC3339Nano), f.refuses == "", f.loaded.UTC().Truncate(time.Second).Format(time.RFC3339))
	case "/api/v1/status/config":
		body = fmt.Sprintf(`{"status":"success","data":{"yaml":%q}}`, f.config)
	case "/-/reload":
		f.reloads++
		if f.onReload != nil {
			f.onReload()
		}
		switch {
		case !f.lifecycle:
			status, body = http.StatusForbidden, "Lifecycle API is not enabled."
		case f.refuses != "":
			status, body = http.StatusInternalServerError, f.refuses
		default:
			f.loaded = time.Now()
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// supervise runs a supervisor over f in a bubble of its own time.
func supervise(t *testing.T, f *fakePrometheus, test func(wanted chan generation, now func() health)) {
	t.Helper()
	f.config = "url: http://127.0.0.1:9591/api/v1/feedback"
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wanted := make(chan generation, 1)
		s := supervisor{
			server: &server{url: "http://prometheus", client: &http.Client{Transport: f}, marker: "/api/v1/feedback"},
			logger: log.NewNopLogger(), wanted: wanted, out: make(chan health, 1),
		}
		done := make(chan struct{})
		go func() { s.run(ctx); close(done) }()
		var last health
		test(wanted, func() health {
			synctest.Wait()
			select {
			case last = <-s.out:
			default:
			}
			return last
		})
		cancel()
		<-done
	})
}

func TestPrometheusIsReloadedUntilItRunsWithTheNewest(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true, refuses: "bad rule file\nand more"}
	supervise(t, f, func(wanted chan generation, now func() health) {
		offer(wanted, generation{number: 1, written: time.Now()})
		time.Sleep(time.Second)
		if h := now(); !h.ready || h.loaded != 0 || h.err != "reload Prometheus: bad rule file (its log says more)" {
			t.Errorf("refused: %+v", h)
		}
		f.set(func(f *fakePrometheus) { f.refuses = "" })
		time.Sleep(pollInterval + time.Second)
		if h := now(); h.loaded != 1 || h.err != "" {
			t.Errorf("good again, with no change of ours: %+v", h)
		}
		reloads := f.reloads
		time.Sleep(time.Minute)
		if now(); f.reloads != reloads {
			t.Errorf("%d reloads though it runs with the newest", f.reloads-reloads)
		}
	})
}

func TestPrometheusThatHasLoadedItByItselfIsNotTold(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true}
	supervise(t, f, func(wanted chan generation, now func() health) {
		written := time.Now()
		f.set(func(f *fakePrometheus) { f.loaded = written.Add(2 * time.Second) })
		time.Sleep(3 * time.Second)
		offer(wanted, generation{number: 1, written: written})
		time.Sleep(time.Second)
		if h := now(); h.loaded != 1 || f.reloads != 0 {
			t.Errorf("%+v after %d reloads", h, f.reloads)
		}
	})
}

func TestPrometheusWithoutLifecycleReloadsByItself(t *testing.T) {
	f := &fakePrometheus{up: true}
	supervise(t, f, func(wanted chan generation, now func() health) {
		offer(wanted, generation{number: 1, written: time.Now()})
		time.Sleep(5 * time.Second)
		if h := now(); h.loaded != 0 || !strings.Contains(h.err, "--web.enable-lifecycle") {
			t.Errorf("before: %+v", h)
		}
		f.set(func(f *fakePrometheus) { f.loaded = time.Now() })
		time.Sleep(3 * time.Second)
		if h := now(); h.loaded != 1 || h.err != "" {
			t.Errorf("after: %+v", h)
		}
	})
}

func TestPrometheusStartedInTheSecondOfTheWriting(t *testing.T) {
	f := &fakePrometheus{}
	supervise(t, f, func(wanted chan generation, now func() health) {
		offer(wanted, generation{number: 1, written: time.Now()})
		time.Sleep(300 * time.Millisecond)
		f.set(func(f *fakePrometheus) { f.up, f.started, f.loaded = true, time.Now(), time.Now() })
		time.Sleep(2 * time.Second)
		if h := now(); h.loaded != 1 {
			t.Errorf("%+v", h)
		}
	})
}

func TestTwoGenerationsInOneSecond(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true}
	supervise(t, f, func(wanted chan generation, now func() health) {
		for n := 1; n <= 5; n++ {
			offer(wanted, generation{number: n, written: time.Now()})
			time.Sleep(200 * time.Millisecond)
			if h := now(); h.loaded != n || f.reloads != n {
				t.Fatalf("%+v after %d reloads, want generation %d to be loaded by a reload of its own", h, f.reloads, n)
			}
		}
	})
}

func TestPrometheusThatRunsWithAnotherConfigurationIsFound(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true}
	supervise(t, f, func(wanted chan generation, now func() health) {
		f.set(func(f *fakePrometheus) { f.config = "the source" })
		offer(wanted, generation{number: 1, written: time.Now()})
		time.Sleep(2 * time.Second)
		if h := now(); h.loaded != 0 || !strings.Contains(h.err, "--config.file=") {
			t.Errorf("%+v", h)
		}
	})
}

func TestARestartBetweenTwoProbesIsSeen(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true, started: time.Unix(1, 0)}
	supervise(t, f, func(_ chan generation, now func() health) {
		time.Sleep(time.Minute)
		f.set(func(f *fakePrometheus) { f.started = time.Now() })
		time.Sleep(pollInterval + time.Second)
		if h := now(); time.Since(h.since) > pollInterval+time.Second {
			t.Errorf("ready since %s ago", time.Since(h.since))
		}
	})
}

func TestReadinessIsSeenWhileAReloadHangs(t *testing.T) {
	f := &fakePrometheus{up: true, lifecycle: true, hangs: true}
	supervise(t, f, func(wanted chan generation, now func() health) {
		offer(wanted, generation{number: 1, written: time.Now()})
		time.Sleep(2 * time.Second)
		if !now().ready {
			t.Error("not ready though it answers")
		}
		f.set(func(f *fakePrometheus) { f.up = false })
		time.Sleep(time.Second)
		if h := now(); h.ready || time.Since(h.since) > time.Second {
			t.Errorf("gone, but %+v", h)
		}
		f.set(func(f *fakePrometheus) { f.up, f.hangs = true, false })
		time.Sleep(90 * time.Second)
		if h := now(); h.loaded != 1 {
			t.Errorf("back, but %+v", h)
		}
	})
}

// TestFlushTime wants Prometheus's flags to be asked for once a start, and to
// be remembered when it has gone.
func TestFlushTime(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		if got := r.FlushTime(); got != time.Minute {
			t.Errorf("nothing known: %s, want Prometheus's default of a minute", got)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.started = time.Now() })
		r.write("prometheus.yml", "remote_write: [{url: http://own/}]\n"+twoJobs)
		r.run(10 * time.Second)
		if got := r.FlushTime(); got != 2*time.Minute {
			t.Errorf("two remote writes, the user's own and the feedback: %s, want a minute for each", got)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.deadline = "10s" })
		r.run(time.Minute)
		if got := r.FlushTime(); got != 20*time.Second || r.Stopping(r.t.Context()) {
			t.Errorf("asked: %s, stopping %v", got, r.Stopping(r.t.Context()))
		}
		asked := r.prometheus.asked
		r.run(time.Minute)
		if r.prometheus.asked != asked {
			t.Errorf("asked %d times again of the same Prometheus", r.prometheus.asked-asked)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.stopping = true })
		if !r.Stopping(r.t.Context()) {
			t.Error("it says that it is stopping")
		}
		r.prometheus.set(func(f *fakePrometheus) { f.up = false })
		r.run(10 * time.Second)
		if got := r.FlushTime(); got != 20*time.Second || r.Stopping(r.t.Context()) {
			t.Errorf("it has gone: %s, stopping %v", got, r.Stopping(r.t.Context()))
		}
		r.prometheus.set(func(f *fakePrometheus) {
			f.up, f.stopping, f.started, f.deadline = true, false, time.Now(), "1m30s"
		})
		r.run(10 * time.Second)
		if got := r.FlushTime(); got != 3*time.Minute {
			t.Errorf("started with another deadline: %s", got)
		}
	})
}
