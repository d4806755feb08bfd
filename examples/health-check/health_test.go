// Package healthcheck tests the script in this directory.
package healthcheck

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sidecar answers as a sidecar does.
type sidecar struct {
	ready   string // why not; empty: ready
	metrics map[string]string
	status  map[string]int // by path; 0 is 200
}

// good is what a sidecar answers that has nothing to complain of.
func good() *sidecar {
	return &sidecar{status: map[string]int{}, metrics: map[string]string{
		`ringside_cluster_settled`:                    "1",
		`ringside_unowned_targets`:                    "0",
		`ringside_load_series`:                        "1.234567e+06",
		`ringside_config_last_reload_successful`:      "1",
		`ringside_prometheus_config_loaded`:           "1",
		`ringside_upload_enabled`:                     "1",
		`ringside_upload_lag_seconds`:                 "0",
		`ringside_relay_lag_seconds{upstream="a b"}`:  "2.5",
		`ringside_relay_lag_seconds{upstream="{x}"}`:  "7",
		`ringside_targets{job="a b",phase="active"}`:  "20",
		`ringside_handover_duration_seconds_sum`:      "NaN",
		`ringside_build_info{version="0.1 (odd) 1"}`:  "1",
		`go_memstats_alloc_bytes{odd="ringside_x 1"}`: "5",
	}}
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := s.status[r.URL.Path]; status != 0 {
		http.Error(w, "as asked", status)
		return
	}
	switch r.URL.Path {
	case "/-/healthy":
		fmt.Fprintln(w, "Ringside is healthy.")
	case "/-/ready":
		if s.ready != "" {
			http.Error(w, s.ready, http.StatusServiceUnavailable)
		}
	case "/metrics":
		fmt.Fprintln(w, "# HELP ringside_cluster_settled Whether 0.")
		for _, name := range slices.Sorted(maps.Keys(s.metrics)) {
			fmt.Fprintln(w, name, s.metrics[name])
		}
	default:
		http.NotFound(w, r)
	}
}

func script(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIP: needs curl, Debian's package curl")
	}
	path, err := filepath.Abs("ringside-health")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// check runs the script and returns what it prints and its exit status.
func check(t *testing.T, args ...string) (string, int) {
	t.Helper()
	return run(t, script(t), args...)
}

func run(t *testing.T, script string, args ...string) (string, int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), script, args...).CombinedOutput()
	status := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out), status
}

func TestVerdicts(t *testing.T) {
	set := func(name, value string) func(*sidecar) { return func(s *sidecar) { s.metrics[name] = value } }
	answer := func(path string, status int) func(*sidecar) { return func(s *sidecar) { s.status[path] = status } }
	for _, tc := range []struct {
		name   string
		change func(*sidecar)
		args   string
		status int
		want   string
	}{
		{"good", func(*sidecar) {}, "", 0, "RINGSIDE OK - settled, every target has an owner | unowned=0 series=1234567 relay_lag=7s;60;300 upload_lag=0s;3600;10800\n"},
		{"no upstreams", func(s *sidecar) {
			delete(s.metrics, `ringside_relay_lag_seconds{upstream="a b"}`)
			delete(s.metrics, `ringside_relay_lag_seconds{upstream="{x}"}`)
		}, "", 0, "series=1234567 upload_lag=0s"},
		{"not settled", set("ringside_cluster_settled", "0"), "", 1, "RINGSIDE WARNING - the cluster is not settled |"},
		{"unowned", set("ringside_unowned_targets", "3"), "", 2, "RINGSIDE CRITICAL - 3 targets without an owner |"},
		{"two problems", func(s *sidecar) {
			s.metrics["ringside_cluster_settled"], s.metrics["ringside_unowned_targets"] = "0", "1"
		}, "", 2, "RINGSIDE CRITICAL - 1 targets without an owner; the cluster is not settled |"},
		{"bad reload", set("ringside_config_last_reload_successful", "0"), "", 1, "the last reload went wrong"},
		{"not loaded", set("ringside_prometheus_config_loaded", "0"), "", 1, "Prometheus does not run with the generated configuration"},
		{"relay lags", set(`ringside_relay_lag_seconds{upstream="a b"}`, "61"), "", 1, "the relay lags by 61 s"},
		{"relay lags long", set(`ringside_relay_lag_seconds{upstream="a b"}`, "3e+02"), "", 2, "the relay lags by 300 s"},
		{"relay may lag", set(`ringside_relay_lag_seconds{upstream="a b"}`, "61"), "-r 100:200", 0, "relay_lag=61s;100;200"},
		{"uploads lag", set("ringside_upload_lag_seconds", "4000"), "", 1, "a block waits for its upload since 4000 s"},
		{"uploads lag long", set("ringside_upload_lag_seconds", "4000"), "-u 10:20", 2, "since 4000 s"},
		{"no uploads", func(s *sidecar) {
			s.metrics["ringside_upload_enabled"], s.metrics["ringside_upload_lag_seconds"] = "0", "99999"
		}, "", 0, "OK"},
		{"not ready", func(s *sidecar) { s.ready = "Prometheus does not answer\nand more" }, "", 2, "RINGSIDE CRITICAL - not ready: Prometheus does not answer\n"},
		{"not healthy", answer("/-/healthy", 500), "", 2, "/-/healthy answers 500"},
		{"busy", answer("/-/healthy", 503), "", 2, "/-/healthy answers 503"},
		{"not Ringside", answer("/-/ready", 404), "", 3, "is this Ringside?"},
		{"no metrics", answer("/metrics", 500), "", 3, "/metrics answers 500"},
		{"locked", answer("/-/healthy", 401), "", 3, "answers 401: give credentials with -K"},
		{"a metric is missing", func(s *sidecar) { delete(s.metrics, "ringside_cluster_settled") }, "", 3, "odd metrics: no ringside_cluster_settled\n"},
		{"a metric is odd", set("ringside_unowned_targets", "NaN"), "", 3, "odd metrics: ringside_unowned_targets is NaN\n"},
		{"nothing of Ringside's", func(s *sidecar) { clear(s.metrics) }, "", 3, "no ringside_cluster_settled no ringside_unowned_targets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := good()
			tc.change(s)
			srv := httptest.NewServer(s)
			defer srv.Close()
			out, status := check(t, append(strings.Fields(tc.args), srv.URL+"/")...)
			if status != tc.status || !strings.Contains(out, tc.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("exit status %d, prints\n%swant %d, %q", status, out, tc.status, tc.want)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	srv := httptest.NewServer(good())
	url := srv.URL
	srv.Close()
	if out, status := check(t, url); status != 2 || !strings.Contains(out, "RINGSIDE CRITICAL - no answer from "+url+": curl: (7)") {
		t.Errorf("nobody listens: exit status %d, prints %q", status, out)
	}
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer slow.Close()
	defer close(hang)
	if out, status := check(t, "-t", "1", slow.URL); status != 2 || !strings.Contains(out, "curl: (28)") {
		t.Errorf("a slow answer: exit status %d, prints %q", status, out)
	}
}

func TestCredentials(t *testing.T) {
	good := good()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		good.ServeHTTP(w, r)
	}))
	defer srv.Close()
	curlrc := filepath.Join(t.TempDir(), "curl rc")
	if err := os.WriteFile(curlrc, []byte("user = \"u:p\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := check(t, "-K", curlrc, srv.URL); status != 0 {
		t.Errorf("exit status %d, prints %q", status, out)
	}
}

func TestArguments(t *testing.T) {
	good := httptest.NewServer(good())
	defer good.Close()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tc := range []struct{ args, want string }{
		{"-x", "usage"},
		{"-t soon", "-t soon: give whole seconds"},
		{"-t 0", "-t 0: give a second or more"},
		{"-t 00", "-t 00: give a second or more"},
		{"-r 5", "5: give WARN:CRIT"},
		{"-r 5:", "5:: give WARN:CRIT"},
		{"-r a:b", "a:b: give WARN:CRIT"},
		{"-r 300:60", "300:60: WARN is more than CRIT"},
		{"-u 1:2:3", "1:2:3: give WARN:CRIT"},
		{"-u 2:1", "2:1: WARN is more than CRIT"},
		{"-K " + missing, "-K " + missing + ": cannot be read"},
		{"-K " + filepath.Dir(missing), "cannot be read"},
		{"a b", "usage"},
	} {
		if out, status := check(t, append(strings.Fields(tc.args), good.URL)...); status != 3 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit status %d, prints %q; want 3 and %q", tc.args, status, out, tc.want)
		}
	}
	for _, args := range []string{"-t 10", "-r 60:60", "-u 08:09"} {
		if out, status := check(t, append(strings.Fields(args), good.URL)...); status != 0 {
			t.Errorf("%s: exit status %d, prints %q", args, status, out)
		}
	}
	if out, status := check(t, "-h"); status != 0 || !strings.HasPrefix(out, "usage: ringside-health") {
		t.Errorf("-h: exit status %d, prints %q", status, out)
	}
}

// What the script needs may be missing where monitoring runs it.
func TestMissingPrograms(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("SKIP: needs curl, Debian's package curl")
	}
	bin, script := t.TempDir(), script(t)
	t.Setenv("PATH", bin)
	if out, status := run(t, script); status != 3 || out != "RINGSIDE UNKNOWN - curl is not installed\n" {
		t.Errorf("without curl: exit status %d, prints %q", status, out)
	}
	if err := os.Symlink(curl, filepath.Join(bin, "curl")); err != nil {
		t.Fatal(err)
	}
	if out, status := run(t, script); status != 3 || out != "RINGSIDE UNKNOWN - awk is not installed\n" {
		t.Errorf("without awk: exit status %d, prints %q", status, out)
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("SKIP: needs shellcheck, Debian's package shellcheck")
	}
	if out, err := exec.CommandContext(t.Context(), shellcheck, script(t)).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
