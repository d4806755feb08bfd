package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// start runs the program and returns its instances as it announces them.
func start(t *testing.T, args ...string) []targetGroup {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logged, stderr := io.Pipe()
	done := make(chan error, 1)
	file := filepath.Join(t.TempDir(), "ledger.json")
	go func() {
		done <- run(ctx, append(args, "--listen-address=127.0.0.1:0", "--sd-file="+file), stderr)
		stderr.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	if line, err := bufio.NewReader(logged).ReadString('\n'); err != nil || !strings.Contains(line, "ledger is up") {
		t.Fatalf("logged %q: %v", line, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var groups []targetGroup
	if err := json.Unmarshal(data, &groups); err != nil {
		t.Fatal(err)
	}
	if served := get(t, groups[0].Targets[0], "/sd"); served != string(data) {
		t.Errorf("/sd answers %s, the file says %s", served, data)
	}
	return groups
}

func get(t *testing.T, address, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRun(t *testing.T) {
	groups := start(t, "--instances=14", "--load=100", "--latency=0s", "--unready=1")
	if len(groups) != 14 {
		t.Fatalf("%d instances, want 14", len(groups))
	}
	seen := map[string]bool{}
	for _, g := range groups {
		seen[g.Targets[0]] = true
		if g.Labels["app"] == "" || g.Labels["team"] == "" {
			t.Errorf("labels %v", g.Labels)
		}
	}
	if len(seen) != 14 || groups[0].Labels["app"] != groups[12].Labels["app"] || groups[0].Labels["app"] == groups[1].Labels["app"] {
		t.Errorf("instances are %v", groups)
	}
	if body := get(t, groups[0].Targets[0], "/metrics"); body != "not ready\n" {
		t.Errorf("the unready instance answers %s", body)
	}
	for _, moves := range []string{
		`ledger_transactions_total\{.*\} [1-9]`,
		`ledger_http_requests_total\{.*status="200"\} [1-9]`,
		`ledger_grpc_requests_total\{.*status="OK"\} [1-9]`,
	} {
		for !regexp.MustCompile(moves).MatchString(get(t, groups[13].Targets[0], "/metrics")) {
		}
	}
}

func TestBadFlags(t *testing.T) {
	taken := start(t)[0].Targets[0]
	for _, tc := range []struct{ arg, want string }{
		{"extra", `unexpected argument "extra"`},
		{"--instances=0", "--instances is 0; give 1 or more"},
		{"--max-series=10", "--max-series is 10; give more than"},
		{"--load=-1", "--load is -1"},
		{"--load=NaN", "--load is NaN"},
		{"--error-rate=2", "--error-rate is 2; give from 0 to 1"},
		{"--latency=-1s", "--latency is -1s"},
		{"--listen-address=localhost", "resolve --listen-address"},
		{"--listen-address=" + taken, "bind instance 1 of 1: listen tcp " + taken},
		{"--sd-file=/no/such/directory/file", "write --sd-file"},
		{"--port=1", "flag provided but not defined"},
	} {
		err := run(t.Context(), []string{"--listen-address=127.0.0.1:0", tc.arg}, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", tc.arg, err, tc.want)
		}
	}
}
