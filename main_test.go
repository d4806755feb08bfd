package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(asRingside) == "1" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeygen(t *testing.T) {
	var out bytes.Buffer
	if err := command([]string{"keygen"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(out.String())); err != nil || len(key) != 32 {
		t.Errorf("key %q: %d bytes, %v; want 32 bytes in base64", out.String(), len(key), err)
	}
}

func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "prometheus.yml", "scrape_configs:\n  - job_name: ledger\n    static_configs:\n      - targets: [10.0.0.1:8080]\n")
	good := writeFile(t, dir, "good.yml", "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\nuploader: {bucket: {type: S3, config: {bucket: m, endpoint: e}}}\n")
	bad := writeFile(t, dir, "bad.yml", "cluster: {name: prod}\nscrape:\n  replica: 2\n")
	badSource := writeFile(t, dir, "badsource.yml", "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\nprometheus: {config_file: bad.yml}\n")
	const uploads = "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\nuploader: "
	field := writeFile(t, dir, "field.yml", uploads+"{bucket: {type: S3, config: {bucket: m, acces_key: SKPLANTED}}}\n")
	kind := writeFile(t, dir, "kind.yml", uploads+"{bucket: {type: S3, config: {bucket: m, endpoint: e, insecure: SKPLANTED}}}\n")
	nowhere := writeFile(t, dir, "nowhere.yml", uploads+"{bucket: {type: FILESYSTEM}}\n")
	unnamed := writeFile(t, dir, "unnamed.yml", uploads+"{bucket: {type: S3, config: {endpoint: e}}}\n")
	writeFile(t, dir, "bucket.yml", "type: S3\nconfig:\n  acces_key: SKPLANTED\n")
	elsewhere := writeFile(t, dir, "elsewhere.yml", uploads+"{bucket_file: bucket.yml}\n")
	made := writeFile(t, dir, "made.yml", uploads+"{bucket: {type: FILESYSTEM, config: {directory: run/blocks}}}\n")
	const single = "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\n"
	noSource := writeFile(t, dir, "nosource.yml", single+"prometheus:\n  config_file: nosuch.yml\n")
	noCA := writeFile(t, dir, "noca.yml", single+"prometheus:\n  http_config:\n    tls_config: {ca_file: nosuch.pem}\n")
	writeFile(t, dir, "taken.txt", "mine\n")
	taken := writeFile(t, dir, "taken.yml", single+"prometheus:\n  targets_dir: run/targets\n  generated_config_file: taken.txt\n")
	unset := writeFile(t, dir, "unset.yml", "cluster:\n  name: ${RINGSIDE_TEST_NOT_SET}\n  listen_address: 127.0.0.1:7946\n")
	for _, tc := range []struct {
		args     []string
		out, err string
	}{
		{[]string{good}, "good.yml is good: member a of cluster prod", ""},
		{[]string{bad}, "", "bad.yml:3: scrape.replica: unknown field; known here: replicas, capacity_series, jobs"},
		{[]string{badSource}, "", "bad.yml"},
		{[]string{field}, "", "uploader.bucket.config.acces_key: unknown field; known here: bucket, endpoint, "},
		{[]string{kind}, "", "uploader.bucket.config.insecure: expected true or false"},
		{[]string{nowhere}, "", "uploader.bucket.config: directory is missing; FILESYSTEM needs directory"},
		{[]string{unnamed}, "", "uploader.bucket.config: bucket is missing; S3 needs bucket and endpoint"},
		{[]string{elsewhere}, "", filepath.Join(dir, "bucket.yml") + ":3: config.acces_key: unknown field"},
		{[]string{made}, "made.yml is good", ""},
		{[]string{noSource}, "", noSource + ":3: prometheus.config_file: read the source: open " + filepath.Join(dir, "nosuch.yml")},
		{[]string{noCA}, "", noCA + ":4: prometheus.http_config.tls_config.ca_file: open " + filepath.Join(dir, "nosuch.pem")},
		{[]string{taken}, "", taken + ":4: prometheus.generated_config_file: Ringside has not generated " + filepath.Join(dir, "taken.txt")},
		{[]string{unset, "--config.expand-env"}, "", "unset.yml:2: ${RINGSIDE_TEST_NOT_SET} is not set"},
		{[]string{unset}, "cluster ${RINGSIDE_TEST_NOT_SET}", ""},
	} {
		var out bytes.Buffer
		err := command(append([]string{"check-config"}, tc.args...), &out, &out)
		if !strings.Contains(out.String(), tc.out) {
			t.Errorf("%s prints %q; want %q", tc.args, out.String(), tc.out)
		}
		if (err != nil) != (tc.err != "") || err != nil && (!strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "SKP")) {
			t.Errorf("%s: %v; want %q", tc.args, err, tc.err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
		t.Error("check-config made the run directory; it must write nothing")
	}
}

func TestArguments(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"bogus", "unexpected bogus"},
		{"check-config", "required argument 'FILE'"},
		{"explain", "required argument 'TARGET'"},
		{"--log.format=xml", "must be one of logfmt,json, got 'xml'"},
		{"--log.level=loud", "must be one of debug,info,warn,error, got 'loud'"},
		{"run --nosuch", "unknown long flag"},
	} {
		var out bytes.Buffer
		if err := command(strings.Fields(tc.args), &out, &out); err == nil || !strings.HasPrefix(err.Error(), "ringside: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want an error about %s", tc.args, err, tc.want)
		}
	}
}

// TestRunIsDefault wants the same of ringside and ringside run: here, that the
// log says which file is missing, in the format asked for.
func TestRunIsDefault(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no.yml")
	for _, args := range [][]string{
		{"--config.file=" + missing, "--log.format=json"},
		{"run", "--config.file=" + missing, "--log.format=json", "--log.level=error"},
	} {
		var stderr bytes.Buffer
		err := command(args, &stderr, &stderr)
		if logged := (loggedError{}); !errors.As(err, &logged) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v; want a logged error that the file does not exist", args, err)
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		var last map[string]string
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
			t.Fatalf("%s: not JSON: %s", args, lines)
		}
		if last["level"] != "error" || !strings.Contains(last["err"], missing) || !strings.HasPrefix(last["caller"], "main.go:") || last["ts"] == "" {
			t.Errorf("%s logs %v", args, last)
		}
		if len(args) == 4 && len(lines) != 1 {
			t.Errorf("%s logs below its level: %s", args, lines)
		}
	}
}

// TestRunLocates wants the sidecar to tell what check-config tells.
func TestRunLocates(t *testing.T) {
	path := writeFile(t, t.TempDir(), "ringside.yml", "cluster: {name: prod, node: a, listen_address: 127.0.0.1:0}\nrelay:\n  listen_address: 127.0.0.1:0\n"+
		"  upstreams:\n    - name: a\n      hashring: {file: nosuch.json}\n")
	err := command([]string{"--config.file=" + path, "--web.listen-address=127.0.0.1:0"}, io.Discard, io.Discard)
	if want := path + ":6: relay.upstreams[0].hashring.file: open "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v; want %s", err, want)
	}
}

func TestExplain(t *testing.T) {
	answers := map[string]string{
		"10.0.0.1:80": `{"status":"success","data":[
			{"job":"a","scrape_url":"http://10.0.0.1:80/metrics","labels":{"app":"x"},"key":"k","owners":["one","two"],"next":["three",""],"phase":"adopting",
			 "key_rule":"job and address","order":["one","two","four","three"],"view":"00ff","why":"first in its order","pending":["one"],"discovery":"0"},
			{"job":"b","scrape_url":"http://10.0.0.1:80/metrics","labels":{},"owners":[],"next":[],"phase":"unowned","why":"nobody is there","discovery":"/sd/ledger.yml:0"}]}`,
		"none": `{"status":"success","data":[]}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/prefix/api/v1/explain" {
			t.Errorf("asked for %s", r.URL)
		}
		if _, err := w.Write([]byte(answers[r.URL.Query().Get("target")])); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	auth := writeFile(t, t.TempDir(), "http.yml", "basic_auth: {username: u, password: p}\nenable_http2: false\n")

	for _, tc := range []struct {
		args     []string
		out, err string
	}{
		{[]string{"10.0.0.1:80", "--http.config.file=" + auth}, "http://10.0.0.1:80/metrics of job a\n  owners     one, two\n  why        first in its order\n  next       after one: three; after two: nobody is left\n  phase      adopting\n  waits for  one\n  key        k\n  made from  job and address\n  labels     {app=\"x\"}\n  found by   static_configs\n  view       00ff\n", ""},
		{[]string{"10.0.0.1:80", "--http.config.file=" + auth}, "http://10.0.0.1:80/metrics of job b\n  owners    nobody\n  why       nobody is there\n  phase     unowned\n", ""},
		{[]string{"none", "--http.config.file=" + auth}, "", `no target has the address, scrape URL or key "none"`},
		{[]string{"10.0.0.1:80"}, "", "401 Unauthorized"},
		{[]string{"x", "--http.config.file=nosuch.yml"}, "", "read --http.config.file: "},
	} {
		var out bytes.Buffer
		err := command(append([]string{"explain", "--url=" + srv.URL + "/prefix/"}, tc.args...), &out, &out)
		if !strings.Contains(out.String(), tc.out) {
			t.Errorf("%s prints\n%s\nwant\n%s", tc.args, out.String(), tc.out)
		}
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v; want %q", tc.args, err, tc.err)
		}
	}
}

func TestURLToAsk(t *testing.T) {
	const want = "--url: not a URL such as http://127.0.0.1:9590; begin it with http:// or https://"
	for _, url := range []string{"127.0.0.1:9590", "localhost:9590", "http:127.0.0.1:9590", ""} {
		for _, args := range [][]string{{"explain", "x"}, {"simulate", "--add=x"}} {
			if err := command(append(args, "--url="+url), io.Discard, io.Discard); err == nil || err.Error() != want {
				t.Errorf("%s --url=%s: %v; want %s", args, url, err, want)
			}
		}
	}
}

// TestSignals sends signals with pauses, in ms, between them.
func TestSignals(t *testing.T) {
	type sent struct {
		after  time.Duration
		signal os.Signal
	}
	const ms = time.Millisecond
	for _, tc := range []struct {
		name    string
		signals []sent
		want    string
	}{
		{"asked again", []sent{{0, syscall.SIGHUP}, {0, syscall.SIGTERM}, {0, syscall.SIGHUP}, {time.Second, syscall.SIGINT}}, "reload end reload abort"},
		{"passed on by a wrapper", []sent{{0, syscall.SIGTERM}, {5 * ms, syscall.SIGTERM}}, "end"},
		{"passed on, and asked again", []sent{{0, syscall.SIGTERM}, {5 * ms, syscall.SIGTERM}, {994 * ms, syscall.SIGTERM}, {ms, syscall.SIGTERM}}, "end abort"},
	} {
		synctest.Test(t, func(t *testing.T) {
			signals := make(chan os.Signal)
			go func() {
				defer close(signals)
				for _, s := range tc.signals {
					time.Sleep(s.after)
					signals <- s.signal
				}
			}()
			var did []string
			note := func(what string) func() { return func() { did = append(did, what) } }
			onSignal{log.NewNopLogger(), note("reload"), note("end"), note("abort")}.obey(signals)
			if got := strings.Join(did, " "); got != tc.want {
				t.Errorf("%s: did %q; want %s", tc.name, got, tc.want)
			}
		})
	}
}

// leave writes a data directory as a Prometheus leaves it: with a head.
func leave(t *testing.T, dir string) (samples int) {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.RetentionDuration = 0
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	app := db.Appender(t.Context())
	for at := time.Now().Add(-3 * time.Hour); at.Before(time.Now()); at = at.Add(time.Minute) {
		if _, err := app.Append(0, labels.FromStrings("__name__", "up"), at.UnixMilli(), 1); err != nil {
			t.Fatal(err)
		}
		samples++
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return samples
}

// TestFlush flushes what a Prometheus has left, and looks at the bucket.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "prometheus.yml", "global: {external_labels: {region: eu}}\nscrape_configs: []\n")
	const text = "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\n"
	bare := writeFile(t, dir, "bare.yml", text)
	full := writeFile(t, dir, "full.yml", text+"uploader: {bucket: {type: FILESYSTEM, config: {directory: bucket}}}\n")
	samples := leave(t, filepath.Join(dir, "data"))

	run := func(want, problem string, args ...string) {
		t.Helper()
		var out, log bytes.Buffer
		err := command(args, &out, &log)
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s prints\n%s\nwant %s", args, out.String(), want)
		}
		if (err != nil) != (problem != "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v; want %q\n%s", args, err, problem, log.String())
		}
	}
	mistyped := writeFile(t, dir, "mistyped.yml", strings.Replace(text, "\n", "\nprometheus: {data_dir: dta}\n", 1)+
		"uploader: {bucket: {type: FILESYSTEM, config: {directory: bucket}}}\n")
	run("^$", "prometheus.data_dir "+filepath.Join(dir, "dta")+": no such directory", "flush", "--config.file="+mistyped)
	for _, name := range []string{"dta", "bucket"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("flush of a directory that does not exist has made %s", name)
		}
	}
	for _, d := range []string{"-2h0m0s", "0s"} {
		run("^$", "--min-block-duration: "+d+"; give that Prometheus's own, above 0", "flush", "--min-block-duration="+d, "--config.file="+full)
	}
	release, _, err := fileutil.Flock(filepath.Join(dir, "data", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	run("", "is locked: a Prometheus, or another ringside flush, has it open", "flush", "--config.file="+full)
	if err := release.Release(); err != nil {
		t.Fatal(err)
	}
	run("", "none is given", "bucket", "ls", "--config.file="+bare)
	for _, verb := range []string{"ls", "verify"} {
		run("^$", filepath.Join(dir, "bucket")+": no such directory", "bucket", verb, "--config.file="+full)
	}
	if err := os.Mkdir(filepath.Join(dir, "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	run("^no blocks in fs: "+filepath.Join(dir, "bucket")+"\n$", "", "bucket", "ls", "--config.file="+full)
	run("^fs: "+filepath.Join(dir, "bucket")+": 0 blocks, ", "", "bucket", "verify", "--config.file="+full)
	run(fmt.Sprintf(`^head: %d samples in [23] new blocks\nbucket: ringside.yml names none`, samples), "", "flush", "--config.file="+bare)
	run(`^head: 0 samples in 0 new blocks\nbucket .*: it holds all of this data directory`, "", "flush", "--config.file="+full)
	run(`\{prometheus_replica="a", region="eu"\}\n(.*\n)+ .* whole\n`, "", "bucket", "ls", "--config.file="+full)
	run(`^fs: .*/bucket: [23] blocks, \d+ bytes: 0 problems, 0 gaps\n$`, "", "bucket", "verify", "--hashes", "--config.file="+full)
	indexes, err := filepath.Glob(filepath.Join(dir, "bucket", "*", "index"))
	if err != nil || len(indexes) == 0 {
		t.Fatalf("in the bucket: %v, %v", indexes, err)
	}
	if err := os.Remove(indexes[0]); err != nil {
		t.Fatal(err)
	}
	run(` lacks index\n`, "", "bucket", "ls", "--config.file="+full)
	run(`^problem .*/index: it is missing`, "not as it should be", "bucket", "verify", "--config.file="+full)
	run("", "nosuch.yml", "flush", "--config.file="+filepath.Join(dir, "nosuch.yml"))
}
