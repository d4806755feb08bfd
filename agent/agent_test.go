package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/ringside-project/ringside/agent"
	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// sidecar is an agent with real parts on loopback, and without Prometheus.
type sidecar struct {
	t     *testing.T
	agent *agent.Agent
	reg   *prometheus.Registry
	log   *logged
	user  string // of basic auth; empty: none
	stop  func() error
}

func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t *testing.T, opts agent.Options) *sidecar {
	t.Helper()
	cfg, err := config.Load(opts.ConfigFile, false)
	if err != nil {
		t.Fatal(err)
	}
	opts.ListenAddress = "127.0.0.1:0"
	s := &sidecar{t: t, reg: prometheus.NewRegistry(), log: &logged{}}
	s.agent, err = agent.New(cfg, opts, log.NewLogfmtLogger(s.log), s.reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.agent.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *sidecar) get(path string) (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.agent.Addr().String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.user != "" {
		req.SetBasicAuth(s.user, "planted-web")
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// await asks until the answer has want in it; the test's own deadline ends a vain wait.
func (s *sidecar) await(path, want string) string {
	s.t.Helper()
	for {
		if _, body := s.get(path); strings.Contains(body, want) {
			return body
		}
		if err := s.t.Context().Err(); err != nil {
			s.t.Fatalf("%s: no %q: %v\n%s", path, want, err, s.log)
		}
	}
}

const source = `
global: {scrape_interval: 1m}
remote_write:
  - url: http://receiver/
    basic_auth: {username: u, password: planted-remote-write}
scrape_configs:
  - job_name: ledger
    authorization: {credentials: planted-scrape}
    static_configs: [{targets: [10.255.255.1:8080]}]
`

// TestSecrets plants secrets wherever one may stand, and looks for them
// wherever something is told.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	key, err := gossip.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file(t, dir, "gossip.key", key+"\n")
	file(t, dir, "prometheus.yml", source)
	ringside := file(t, dir, "ringside.yml", fmt.Sprintf(`
cluster: {name: prod, node: a, listen_address: "127.0.0.1:0", key_file: gossip.key}
prometheus:
  url: http://%s
  http_config: {authorization: {credentials: planted-prometheus}}
relay:
  listen_address: 127.0.0.1:0
  upstreams:
    - name: receive
      endpoints: ["http://receive/?key=planted-query"]
      http_config: {basic_auth: {username: u, password: planted-upstream}}
uploader:
  bucket: {type: S3, config: {bucket: blocks, endpoint: "%s", insecure: true, secret_key: planted-bucket, access_key: planted-access}}
`, closedPort(t), closedPort(t)))
	web := file(t, dir, "web.yml", "basic_auth_users: {reader: $2a$04$rRKeJGwbjFUD2sKHkHuoKu3zf42luFE7UkSdcR4L7eJ/k6RQ7Sutq}\n")
	s := start(t, agent.Options{ConfigFile: ringside, WebConfigFile: web, EnableLifecycle: true})

	if status, _ := s.get("/-/healthy"); status != http.StatusUnauthorized {
		t.Errorf("without a password: %d; want 401", status)
	}
	s.user = "reader"
	var told strings.Builder
	told.WriteString(s.await("/", "ledger"))
	s.await("/api/v1/status/targets", "10.255.255.1")
	file(t, dir, "prometheus.yml", strings.Replace(source, "global:", "globe:", 1))
	s.agent.RequestReload()
	s.await("/api/v1/status/config", `"last_error"`)
	for _, path := range []string{
		"/", "/-/healthy", "/-/ready", "/metrics", "/api/v1/status/cluster", "/api/v1/status/targets", "/api/v1/status/relay",
		"/api/v1/status/config", "/api/v1/status/uploads", "/api/v1/explain?target=10.255.255.1:8080", "/-/drain?timeout=1ms",
	} {
		_, body := s.get(path)
		told.WriteString(body)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	told.WriteString(s.log.String())
	for _, secret := range []string{"planted", key, "$2a$"} {
		if i := strings.Index(told.String(), secret); i >= 0 {
			t.Errorf("a secret is told: …%s…", told.String()[max(0, i-200):min(told.Len(), i+60)])
		}
	}
}

const plainYML = "cluster: {name: prod, node: a, listen_address: '127.0.0.1:0'}\nprometheus: {url: 'http://%s'}\nrelay: {listen_address: '127.0.0.1:0'}\nscrape: {capacity_series: 5000}\n"

func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "prometheus.yml", source)
	s := start(t, agent.Options{ConfigFile: file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t)))})
	metrics := s.await("/metrics", `ringside_targets{job="ledger",phase="active"}`)
	for _, want := range []string{
		"ringside_build_info{", "ringside_config_last_reload_successful 1", "ringside_config_last_reload_success_timestamp_seconds ",
		`ringside_cluster_members{state="joining"} 1`, "ringside_cluster_settled 0", `ringside_target_moves_total{reason="join"} 0`,
		"ringside_unowned_targets ", "ringside_handover_duration_seconds_bucket{", "ringside_load_series 0", "ringside_capacity_series 5000",
		"ringside_cluster_load_ratio 0", "ringside_cluster_source_configs 0", "ringside_frozen 0", "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	problems, err := testutil.GatherAndLint(s.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestHealthy wants what Prometheus starts with to be there with the first answer.
func TestHealthy(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "prometheus.yml", source)
	s := start(t, agent.Options{ConfigFile: file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t)))})
	if status, body := s.get("/-/healthy"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	for _, pattern := range []string{"run/prometheus.yml", "run/targets/ledger-*.json"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) != 1 {
			t.Errorf("%s: %v, %v", pattern, found, err)
		}
	}
}

// TestBadSource wants a sidecar that is up and says what is wrong with the
// source, and gets over it without being told.
func TestBadSource(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "prometheus.yml", "scrape_configs: nonsense\n")
	s := start(t, agent.Options{ConfigFile: file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t)))})
	s.await("/metrics", "ringside_config_last_reload_successful 0")
	s.await("/", "prometheus.yml")
	if status, body := s.get("/-/ready"); status != http.StatusServiceUnavailable || body == "" {
		t.Errorf("/-/ready: %d %s; want 503 and why", status, body)
	}
	file(t, dir, "prometheus.yml", source)
	s.await("/metrics", "ringside_config_last_reload_successful 1")
}

// TestLastUploads has a Prometheus leave a head, and a sidecar end beside it.
func TestLastUploads(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "prometheus.yml", "global: {external_labels: {region: eu}}\nscrape_configs: []\n")
	db, err := tsdb.Open(filepath.Join(dir, "data"), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	app := db.Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "up"), time.Now().UnixMilli(), 1); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, agent.Options{ConfigFile: file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t))+
		"uploader: {bucket: {type: FILESYSTEM, config: {directory: bucket}}}\n")})
	s.await("/api/v1/status/uploads", `"bucket":{"type":"FILESYSTEM"`)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	metas, err := filepath.Glob(filepath.Join(dir, "bucket", "*", "meta.json"))
	if err != nil || len(metas) != 1 {
		t.Fatalf("in the bucket: %v, %v", metas, err)
	}
	text, err := os.ReadFile(metas[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"prometheus_replica": "a"`, `"region": "eu"`, `"numSamples": 1`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in meta.json:\n%s", want, text)
		}
	}
}

// TestHeadLeftBehind wants the end to be no success while a Prometheus that goes on holds the head.
func TestHeadLeftBehind(t *testing.T) {
	for _, tc := range []struct{ uploader, want string }{
		{"bucket: {type: FILESYSTEM, config: {directory: bucket}}, shutdown_wait: 1s", "Prometheus has not gone within uploader.shutdown_wait (1s): its head is not in the bucket"},
		{"bucket: {type: FILESYSTEM, config: {directory: bucket}}, shutdown_wait: 1s, flush_on_shutdown: false", ""},
		{"shutdown_wait: 1s", ""},
	} {
		dir := t.TempDir()
		file(t, dir, "prometheus.yml", "global: {external_labels: {region: eu}}\nscrape_configs: []\n")
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
			t.Fatal(err)
		}
		lock, _, err := fileutil.Flock(filepath.Join(dir, "data", "lock"))
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, agent.Options{ConfigFile: file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t))+"uploader: {"+tc.uploader+"}\n")})
		s.await("/-/healthy", "healthy")
		err = s.stop()
		s.stop = func() error { return nil } // it has ended, as it should
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.uploader, err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "prometheus.yml", source)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	badWeb := file(t, dir, "web.yml", "tls_server_config: {cert_file: nosuch.crt, key_file: nosuch.key}\n")
	for _, tc := range []struct {
		name, relay, want string
		opts              agent.Options
	}{
		{"web port in use", "127.0.0.1:0", "bind --web.listen-address: listen tcp " + taken.Addr().String(), agent.Options{ListenAddress: taken.Addr().String()}},
		{"relay port in use", taken.Addr().String(), "bind relay.listen_address: listen tcp " + taken.Addr().String(), agent.Options{ListenAddress: "127.0.0.1:0"}},
		{"web configuration", "127.0.0.1:0", "web configuration " + badWeb + ": ", agent.Options{ListenAddress: "127.0.0.1:0", WebConfigFile: badWeb}},
	} {
		cfg, err := config.Load(file(t, dir, "ringside.yml", fmt.Sprintf(plainYML, closedPort(t))), false)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Relay.ListenAddress = tc.relay
		if _, err := agent.New(cfg, tc.opts, log.NewNopLogger(), prometheus.NewRegistry()); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %s", tc.name, err, tc.want)
		}
	}
}
