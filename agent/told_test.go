package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/ringside-project/ringside/config"
)

// toldBy makes a told of a source and of a Prometheus at url.
func toldBy(t *testing.T, url, source string, ready func() bool) *told {
	t.Helper()
	cfg := config.Default
	cfg.Cluster.Node, cfg.Prometheus.URL = "a", url
	cfg.Prometheus.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(cfg.Prometheus.ConfigFile, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	told, err := newTold(&cfg, ready, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	return told
}

const written = "global: {external_labels: {region: '${REGION_FOR_TEST}', cost: $$5}}\nstorage: {tsdb: {out_of_order_time_window: 30m}}\n"

// TestToldBySource has a Prometheus that never answers: what is written counts
// once it is not going to, or has had its time.
func TestToldBySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := toldBy(t, "http://127.0.0.1:1", written, func() bool { return false })
		t.Setenv("REGION_FOR_TEST", "eu")
		want := func(labels, problem string) {
			t.Helper()
			got, err := told.labels()
			if (err != nil) != (problem != "") || err != nil && !strings.Contains(err.Error(), problem) || err == nil && got.String() != labels {
				t.Errorf("%s, %v; want %s %q", got, err, labels, problem)
			}
		}
		all := `{cost="$5", prometheus_replica="a", region="eu"}`
		want("", "has not answered yet")
		time.Sleep(silence)
		want(all, "")
		told.start = time.Now()
		want("", "has not answered yet")
		told.gone.Store(true)
		want(all, "")
		if got := told.outOfOrderWindow(); got != 30*time.Minute {
			t.Errorf("out-of-order window %v; want 30m", got)
		}
		if got := told.flags(); got != nil {
			t.Errorf("flags %v; want none", got)
		}
		os.Unsetenv("REGION_FOR_TEST")
		want("", "REGION_FOR_TEST, which is not set here")
		if err := os.WriteFile(told.source, []byte("global: [x]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		want("", told.source)
		if err := os.Remove(told.source); err != nil {
			t.Fatal(err)
		}
		want("", "no such file")
	})
}

// TestToldByPrometheus takes what Prometheus says, and keeps it when it has gone.
func TestToldByPrometheus(t *testing.T) {
	var loaded atomic.Value
	var old atomic.Bool // a Prometheus of before 3.6
	old.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var data any = map[string]string{"yaml": loaded.Load().(string)}
		switch r.URL.Path {
		case "/api/v1/status/tsdb/blocks":
			if old.Load() {
				http.NotFound(w, r)
				return
			}
			data = map[string]any{"blocks": []map[string]any{{"ulid": "01JZZZZZZZ0000000000000000", "minTime": 1}}}
		case "/api/v1/status/flags":
			data = map[string]string{"storage.tsdb.min-block-duration": "2h"}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data}); err != nil {
			t.Error(err)
		}
	}))
	told := toldBy(t, srv.URL+"/", written, func() bool { return true })
	defer told.client.CloseIdleConnections()
	for _, tc := range []struct{ yaml, labels, err string }{
		{"global: {external_labels: {region: us, prometheus_replica: a}}\nstorage: {tsdb: {out_of_order_time_window: 10m}}\n", `{prometheus_replica="a", region="us"}`, ""},
		{"global: {external_labels: {region: us, prometheus_replica: b}}\n", "", "without the external label prometheus_replica=\"a\""},
		{"global: {}\n", "", "start it with --config.file="},
		{"global: {external_labels: {prometheus_replica: a}}\nstorage: {tsdb: {out_of_order_time_window: 10m}}\n", `{prometheus_replica="a"}`, ""},
	} {
		loaded.Store(tc.yaml)
		if err := told.ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		if has := told.blocks(); (has == nil) != old.Load() {
			t.Errorf("old: %v: blocks %v", old.Load(), has)
		}
		old.Store(false)
		got, err := told.labels()
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && got.String() != tc.labels {
			t.Errorf("%s: %s, %v; want %s %q", tc.yaml, got, err, tc.labels, tc.err)
		}
	}
	srv.Close()
	if err := told.ask(t.Context()); err == nil {
		t.Error("no error of a Prometheus that has gone")
	}
	if got := told.outOfOrderWindow(); got != 10*time.Minute {
		t.Errorf("out-of-order window %v; want 10m", got)
	}
	if got := told.flags()["storage.tsdb.min-block-duration"]; got != "2h" {
		t.Errorf("min-block-duration %q; want 2h", got)
	}
	if got := told.blocks(); len(got) != 1 || !got["01JZZZZZZZ0000000000000000"] {
		t.Errorf("blocks %v", got)
	}
	told.has.Store(&blockList{at: time.Now().Add(-blocksAge), ids: told.blocks()})
	if got := told.blocks(); got != nil {
		t.Errorf("blocks %v of long ago; want none", got)
	}
}
