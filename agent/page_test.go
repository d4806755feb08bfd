package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
)

var assetPath = regexp.MustCompile(`(?:href|src)="(static/[^"]+)"`)

func TestPage(t *testing.T) {
	w := world{
		engine: engine{status: scrape.Status{
			Facts:  scrape.Facts{State: scrape.Active, PrometheusReady: true, View: 1, AppliedView: 1},
			Jobs:   []scrape.JobStatus{{Job: "<script>alert(1)</script>", Targets: 3, Synced: true}},
			Source: scrape.SourceStatus{LastError: "prometheus.yml:7: bad", Warnings: []string{"a warning"}},
		}},
		snapshot: gossip.Snapshot{Self: "node-<b>", Known: true, Problems: []string{"name conflict"}},
		config:   reloadStatus{inForce: config.Default, err: errors.New("ringside.yml:3: bad"), needsRestart: []string{"cluster"}},
	}
	rec := w.ask("/")
	text := rec.Body.String()
	for _, want := range []string{
		"1/1 members agree", "3/3 targets owned", "0 hand-overs pending", "relay off", "uploads not current", "no such host",
		"prometheus.yml:7: bad", "name conflict", "a warning", "node-&lt;b&gt;", "ringside.yml:3: bad", "replica_label: prometheus_replica",
		`href="api/v1/status/cluster"`, `href="metrics"`, "changes of cluster take effect only",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(text, "<script>alert") {
		t.Error("a job's name is taken for HTML")
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": page.Policy, "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	paths := assetPath.FindAllStringSubmatch(text, -1)
	if len(paths) != 4 { // the icon twice
		t.Errorf("the page refers to %q", paths)
	}
	for _, path := range paths {
		rec := w.ask("/" + path[1])
		if rec.Code != http.StatusOK || rec.Body.Len() == 0 || !strings.Contains(rec.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %d bytes, %v", path[1], rec.Code, rec.Body.Len(), rec.Header())
		}
	}
	if rec := w.ask("/static/page.css"); rec.Code != http.StatusNotFound {
		t.Errorf("a path without its hash answers %d", rec.Code)
	}
}

// TestPageTakesAnything gives the page addresses that make no sense.
func TestPageTakesAnything(t *testing.T) {
	w := world{snapshot: gossip.Snapshot{Self: "a"}}
	for _, path := range []string{"/?page=0", "/?page=-1&refresh=x", "/?page=99999999999999999999", "/?refresh=7", "/?q=%ff%00%e2%80%ae", "/?q=" + strings.Repeat("é", 3000)} {
		if rec := w.ask(path); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "</html>") {
			t.Errorf("%s answers %d", path, rec.Code)
		}
	}
	if text := w.ask("/?refresh=7").Body.String(); !strings.Contains(text, `<noscript><meta http-equiv="refresh" content="7"></noscript>`) {
		t.Error("the page does not ask again by itself")
	}
}

func TestBrowserURL(t *testing.T) {
	for _, tc := range []struct{ prometheus, host, want string }{
		{"http://127.0.0.1:9090", "10.0.0.7:9590", "http://10.0.0.7:9090"},
		{"http://localhost:9090/prom/", "ringside.example:9590", "http://ringside.example:9090/prom/"},
		{"http://[::1]:9090", "[2001:db8::1]:9590", "http://[2001:db8::1]:9090"},
		{"http://127.0.0.1", "[2001:db8::1]", "http://[2001:db8::1]"},
		{"http://127.0.0.1:9090", "", "http://127.0.0.1:9090"},
		{"http://127.0.0.1:9090", "evil/@x", "http://127.0.0.1:9090"},
		{"https://prometheus.example/", "10.0.0.7:9590", "https://prometheus.example/"},
		{"http://user:planted@prometheus:9090", "10.0.0.7:9590", "http://prometheus:9090"},
		{"http://prometheus:9090/prom?token=planted", "10.0.0.7:9590", "http://prometheus:9090/prom"},
		{"javascript:alert(1)", "10.0.0.7:9590", ""},
		{"", "10.0.0.7:9590", ""},
	} {
		if got := browserURL(tc.prometheus, tc.host); got != tc.want {
			t.Errorf("%s at %s: %q; want %q", tc.prometheus, tc.host, got, tc.want)
		}
	}
}

func TestOpenPrometheus(t *testing.T) {
	w := world{config: reloadStatus{inForce: config.Default}}
	rec := httptest.NewRecorder()
	w.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://10.0.0.7:9590/prometheus", nil))
	if got := rec.Header().Get("Location"); rec.Code != http.StatusFound || got != "http://10.0.0.7:9090" {
		t.Errorf("%d to %q", rec.Code, got)
	}
	w.config.inForce.Prometheus.URL = ""
	if rec := w.ask("/prometheus"); rec.Code != http.StatusNotFound {
		t.Errorf("%d without a Prometheus", rec.Code)
	}
}

func TestSecurity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	for _, tc := range []struct{ text, want string }{
		{"basic_auth_users: {a: planted}\n", "✓ authentication"},
		{"tls_server_config: {cert_file: a, key_file: b}\n", "✓ TLS"},
		{"tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}\n", "✓ authentication"},
		{"tls_server_config: planted\n", "does not parse"},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		w := world{options: Options{WebConfigFile: path}}
		text := w.ask("/").Body.String()
		if !strings.Contains(text, tc.want) || strings.Contains(text, "planted") {
			t.Errorf("%q does not show %q, or shows too much", tc.text, tc.want)
		}
	}
}
