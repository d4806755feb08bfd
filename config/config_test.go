package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/config"
)

// write puts text into a ringside.yml of its own directory.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ringside.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Load(write(t, text), false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const minimal = "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\n"

func TestDefaults(t *testing.T) {
	path := write(t, minimal)
	c, err := config.Load(path, false)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, tc := range []struct{ name, got, want string }{
		{"cluster.rejoin_interval", c.Cluster.RejoinInterval.String(), "15s"},
		{"prometheus.url", c.Prometheus.URL, "http://127.0.0.1:9090"},
		{"prometheus.config_file", c.Prometheus.ConfigFile, dir + "/prometheus.yml"},
		{"prometheus.generated_config_file", c.Prometheus.GeneratedConfigFile, dir + "/run/prometheus.yml"},
		{"prometheus.targets_dir", c.Prometheus.TargetsDir, dir + "/run/targets"},
		{"prometheus.data_dir", c.Prometheus.DataDir, dir + "/data"},
		{"replica_label", c.ReplicaLabel, "prometheus_replica"},
		{"relay.listen_address", c.Relay.ListenAddress, "127.0.0.1:9591"},
		{"uploader.shutdown_wait", c.Uploader.ShutdownWait.String(), "30s"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if c.Scrape.Replicas != 1 || c.Cluster.MinMembers != 1 || !c.Uploader.FlushOnShutdown {
		t.Errorf("replicas %d, min_members %d, flush_on_shutdown %v; want 1, 1, true", c.Scrape.Replicas, c.Cluster.MinMembers, c.Uploader.FlushOnShutdown)
	}
}

// TestDesign loads every field of the contract.
func TestDesign(t *testing.T) {
	c := load(t, `
cluster:
  name: prod/monitoring
  node: prometheus-0
  zone: eu-1a
  listen_address: 127.0.0.1:7946
  advertise_address: ""
  peers: [dnssrv+_gossip._tcp.ringside.monitoring.svc]
  insecure: false
  rejoin_interval: 15s
  min_members: 1
prometheus:
  url: http://127.0.0.1:9090
  config_file: prometheus.yml
  generated_config_file: run/prometheus.yml
  targets_dir: run/targets
  data_dir: data
  http_config: {}
replica_label: prometheus_replica
scrape:
  replicas: 1
  capacity_series: 0
  jobs:
    - job: ledger
      shard_by: [app]
      everywhere: false
      replicas: 2
relay:
  listen_address: 127.0.0.1:9591
  upstreams:
    - name: receive
      endpoints: [http://receive-0:19291/api/v1/receive, http://receive-1:19291/api/v1/receive]
      replication_factor: 1
      required: true
      replica_label: keep
      protobuf_message: auto
      tenant: {header: THANOS-TENANT, value: team-a}
      http_config: {}
uploader:
  bucket: {type: FILESYSTEM, config: {directory: bucket}}
  bucket_file: ""
  flush_on_shutdown: true
  shutdown_wait: 30s
tracing:
  client_type: http
  endpoint: collector:4318
  sampling_fraction: 0.1
  insecure: true
  headers: {X-Tenant: a}
  compression: gzip
  timeout: 5s
  tls_config: {ca_file: ca.pem}
`)
	if got := c.Tracing.TLSConfig.CAFile; !filepath.IsAbs(got) {
		t.Errorf("tracing.tls_config.ca_file %s; want it absolute", got)
	}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
	if got := c.Uploader.Bucket.Config["directory"]; !filepath.IsAbs(got.(string)) {
		t.Errorf("bucket directory %v; want it absolute", got)
	}
}

func TestWarnings(t *testing.T) {
	const drop = "relay: {upstreams: [{name: a, endpoints: [http://a/]}, {name: b, endpoints: [http://b/], replica_label: drop}]}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"upstreams", minimal + drop, ""},
		{"two members write one series", minimal + drop + "scrape: {replicas: 2}\n", `relay.upstreams[1].replica_label: drop, and 2 members scrape`},
		{"of one job", minimal + drop + "scrape: {jobs: [{job: j, replicas: 3}]}\n", `relay.upstreams[1].replica_label: drop, and 3 members scrape`},
		{"each under a label of its own", minimal + "relay: {upstreams: [{name: a, endpoints: [http://a/]}]}\nscrape: {replicas: 2}\n", ""},
	} {
		if got := strings.Join(load(t, tc.text).Warnings(), "\n"); !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestBadInput(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"no key off loopback", "cluster:\n  name: x\n", `ringside.yml:1: cluster.key_file is missing`},
		{"key file missing", "cluster:\n  name: x\n  key_file: nosuch\n", `ringside.yml:3: cluster.key_file`},
		{"peer", "cluster:\n  name: x\n  insecure: true\n  peers:\n    - a:7946\n    - b c\n", `ringside.yml:4: cluster.peers`},
		{"min_members", "cluster:\n  name: x\n  min_members: 0\n", `ringside.yml:3: cluster.min_members is 0`},
		{"empty", "", `ringside.yml: cluster.name is missing`},
		{"unknown block", minimal + "scraping: {}\n", `ringside.yml:2: scraping: unknown field; known here: cluster, prometheus, replica_label, scrape, relay, uploader, tracing`},
		{"unknown field", "cluster:\n  name: x\n\n  nodee: y\n", `ringside.yml:4: cluster.nodee: unknown field; known here: name, node, zone, listen_address, `},
		{"unknown in a list", minimal + "scrape:\n  jobs:\n    - job: a\n      replica: 2\n", `ringside.yml:5: scrape.jobs[0].replica: unknown field; known here: job, shard_by, everywhere, replicas`},
		{"unknown, after a known one of the name", minimal + "scrape: {jobs: [{job: a}], job: b}\n", `ringside.yml:2: scrape.job: unknown field; known here: replicas, `},
		{"unknown in http_config", minimal + "prometheus:\n  http_config:\n    basic_auht: {}\n", `ringside.yml:4: prometheus.http_config.basic_auht: unknown field; known here: basic_auth, `},
		{"two errors", minimal + "scrape:\n  a: 1\n  b: 2\n", "ringside.yml:3: scrape.a: unknown field"},
		{"missing name", "cluster:\n  node: a\n", `ringside.yml:1: cluster.name is missing`},
		{"not a number", minimal + "scrape:\n  replicas: two\n", `ringside.yml:3: scrape.replicas: expected a whole number, not the text "two"`},
		{"not a boolean", minimal + "scrape:\n  jobs:\n    - {job: a, everywhere: 3}\n", `expected true or false, not the number "3"`},
		{"a text for a list", "cluster:\n  name: a\n  peers: host:7946\n", `ringside.yml:3: cluster.peers: expected a list, such as [a, b], not the text "host:7946"`},
		{"a text for a block", "cluster: prod\n", `ringside.yml:1: cluster: expected fields below it, each as name: value, not the text "prod"`},
		{"bad duration", "cluster:\n  name: x\n  node: y\n  rejoin_interval: 15\n", `ringside.yml:4: cluster.rejoin_interval: write a duration as 15s, 2m or 1h30m: `},
		{"a text for the bucket", minimal + "uploader: {bucket: x}\n", `ringside.yml:2: uploader.bucket: expected fields below it, each as name: value, not a text`},
		{"bad duration in uploader", minimal + "uploader:\n  shutdown_wait: soon\n", `ringside.yml:3: uploader.shutdown_wait: write a duration as 15s, 2m or 1h30m: `},
		{"http_config", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      http_config:\n        bearer_token: a\n        basic_auth: {username: b}\n", `ringside.yml:6: relay.upstreams[0].http_config: at most one of`},
		{"unknown in an upstream", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoint: [http://x/]\n", `ringside.yml:5: relay.upstreams[0].endpoint: unknown field; known here: name, endpoints, hashring, `},
		{"unknown in an endpoint", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints:\n        - {address: http://x/, zone: b}\n", `ringside.yml:6: relay.upstreams[0].endpoints[0].zone: unknown field; known here: address, az`},
		{"unknown in sigv4", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      sigv4: {key: planted}\n", `ringside.yml:6: relay.upstreams[0].sigv4.key: unknown field; known here: region, `},
		{"a text for endpoints", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: http://u:planted@x/\n", `ringside.yml:5: relay.upstreams[0].endpoints: expected a list, such as [a, b], not a text`},
		{"a text for a tenant", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      tenant: planted\n", `ringside.yml:6: relay.upstreams[0].tenant: expected fields below it, each as name: value, not a text`},
		{"a text for sigv4", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      sigv4: planted\n", `ringside.yml:6: relay.upstreams[0].sigv4: expected fields below it`},
		{"replication_factor", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      replication_factor: 2\n", `ringside.yml:6: relay.upstreams[0].replication_factor: 2; with these endpoints it must be from 1 to 1`},
		{"not a number of copies", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      replication_factor: two\n", `ringside.yml:6: relay.upstreams[0].replication_factor: expected a whole number, not the text "two"`},
		{"remote_timeout", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      remote_timeout: 20\n", `ringside.yml:6: relay.upstreams[0].remote_timeout: write a duration as 15s, 2m or 1h30m: `},
		{"queue_bytes", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      queue_bytes: much\n", `ringside.yml:6: relay.upstreams[0].queue_bytes: `},
		{"a bad regex", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      write_relabel_configs:\n        - {regex: 'a(', action: drop}\n", `ringside.yml:7: relay.upstreams[0].write_relabel_configs[0].regex: error parsing regexp`},
		{"redirects", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      http_config:\n        follow_redirects: true\n", `ringside.yml:7: relay.upstreams[0].http_config.follow_redirects: redirects are never followed`},
		{"relay label", minimal + "relay:\n  labels:\n    __a: b\n", `ringside.yml:3: relay.labels: "__a" is not a label name`},
		{"relay label is the replica label", minimal + "relay:\n  labels:\n    prometheus_replica: b\n", `ringside.yml:3: relay.labels: prometheus_replica is the replica_label`},
		{"a secret in the wrong place", minimal + "prometheus:\n  http_config:\n    basic_auth: planted\n", `ringside.yml:4: prometheus.http_config.basic_auth: expected fields below it`},
		{"a secret before another field", minimal + "prometheus: {http_config: {basic_auth: planted}, url: 'http://a'}\n", `ringside.yml:2: prometheus.http_config.basic_auth: expected fields below it, each as name: value, not a text`},
		{"a secret in an upstream of one line", minimal + "relay:\n  upstreams:\n    - {name: a, endpoints: [http://x/], http_config: {basic_auth: planted}, required: false}\n", `ringside.yml:4: relay.upstreams[0].http_config.basic_auth: expected fields`},
		{"a value beside a secret", minimal + "prometheus: {http_config: {bearer_token: planted}, targets_dir: [planted]}\n", `ringside.yml:2: prometheus.targets_dir: expected a text, not a list`},
		{"a text beside a secret", minimal + "relay: {upstreams: [{name: a, endpoints: [http://planted/], required: plan}]}\n", `ringside.yml:2: relay.upstreams[0].required: expected true or false, not a text`},
		{"a secret by an alias", minimal + "replica_label: &a planted\nprometheus: {http_config: {basic_auth: *a}}\n", `ringside.yml:2: prometheus.http_config.basic_auth: expected fields`},
		{"a secret merged into an upstream", minimal + "relay: {upstreams: [{name: a, <<: {tenant: planted}}]}\n", `ringside.yml:2: relay.upstreams[0].<<.tenant: expected fields`},
		{"a secret for all upstreams", minimal + "relay: {upstreams: planted}\n", `ringside.yml:2: relay.upstreams: expected a list, such as [a, b], not a text`},
		{"two secrets alike", minimal + "prometheus: {http_config: {basic_auth: planted, tls_config: planted}}\n", `prometheus.http_config.tls_config: expected fields`},
		{"the first field of a line", minimal + "scrape: {replicas: two, capacity_series: 3}\n", `ringside.yml:2: scrape.replicas: expected a whole number, not the text "two"`},
		{"two fields alike", minimal + "scrape: {jobs: [{job: a, replicas: two}, {job: b, replicas: two}]}\n", `ringside.yml:2: scrape.jobs[1].replicas: expected a whole number, not the text "two"`},
		{"a list for a text", "cluster:\n  name: [a]\n", `ringside.yml:2: cluster.name: expected a text, not a list`},
		{"a list for a password", minimal + "prometheus: {http_config: {basic_auth: {password: [planted]}}}\n", `prometheus.http_config.basic_auth.password: expected a text, not a list`},
		{"a text for authorization", minimal + "prometheus:\n  http_config:\n    authorization: planted\n", `ringside.yml:4: prometheus.http_config.authorization: expected fields below it, each as name: value, not a text`},
		{"a fraction", minimal + "scrape:\n  replicas: 1.5\n", `ringside.yml:3: scrape.replicas: expected a whole number, not 1.5`},
		{"a fraction of a job", minimal + "scrape:\n  jobs:\n    - job: a\n      replicas: 2.9\n", `ringside.yml:5: scrape.jobs[0].replicas: expected a whole number, not 2.9`},
		{"a fraction of members", "cluster:\n  name: x\n  min_members: 1.5\n", `ringside.yml:3: cluster.min_members: expected a whole number, not 1.5`},
		{"a fraction of copies", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      replication_factor: 1.2\n", `ringside.yml:6: relay.upstreams[0].replication_factor: expected a whole number, not 1.2`},
		{"a fraction of a rule", minimal + "relay:\n  upstreams:\n    - name: a\n      endpoints: [http://x/]\n      write_relabel_configs: [{action: hashmod, target_label: b, modulus: 2.5}]\n", `ringside.yml:6: relay.upstreams[0].write_relabel_configs[0].modulus: expected a whole number, not 2.5`},
		{"a fraction by an alias", minimal + "scrape: {jobs: [{job: a, <<: {replicas: &r 1.5}}], replicas: *r}\n", `ringside.yml:2: scrape.replicas: expected a whole number, not 1.5`},
		{"no end of members", minimal + "scrape: {replicas: -.inf}\n", `ringside.yml:2: scrape.replicas: expected a whole number, not -.inf`},
		{"too many replicas", minimal + "scrape:\n  replicas: 2000000000\n", `ringside.yml:3: scrape.replicas: 2000000000; give 100 at most; where every member is to scrape all of a job, write everywhere: true for it in scrape.jobs`},
		{"too many replicas of a job", minimal + "scrape:\n  jobs:\n    - job: a\n      replicas: 101\n", `ringside.yml:5: scrape.jobs[0].replicas: 101; give 100 at most, or everywhere: true instead`},
		{"a name of two lines", "cluster:\n  name: \"a\\nb\"\n  listen_address: 127.0.0.1:7946\n", `ringside.yml:2: cluster.name "a\nb" has characters that cannot be shown: write a plain name such as prod/monitoring`},
		{"tab at the start", "\tcluster: {}\n", `ringside.yml:1: not valid YAML: found character that cannot start any token; indent with spaces`},
		{"a bad URL with a password", minimal + "prometheus:\n  http_config:\n    proxy_url: http://u:planted@proxy:port\n", `ringside.yml:4: prometheus.http_config.proxy_url: not a URL: `},
		{"twice", minimal + "cluster: {}\n", `ringside.yml:2: mapping key "cluster" already defined at line 1`},
		{"not YAML", "cluster:\n  name: [\n", `not valid YAML: `},
		{"tab", "cluster:\n\tname: x\n", `indent with spaces`},
		{"a list", "- a\n", `ringside.yml:1: expected fields, each as name: value`},
		{"two documents", minimal + "---\nscrape: {}\n", `ringside.yml:2: a second YAML document`},
		{"replicas", minimal + "scrape:\n  replicas: 0\n", `ringside.yml:3: scrape.replicas: 0; `},
		{"job twice", minimal + "scrape:\n  jobs:\n    - job: a\n    - job: a\n", `ringside.yml:5: scrape.jobs[1].job: "a" has an entry already`},
		{"everywhere and replicas", minimal + "scrape:\n  jobs:\n    - job: a\n      everywhere: true\n      replicas: 2\n", `ringside.yml:4: scrape.jobs[0]: everywhere goes without`},
		{"prometheus.url", minimal + "prometheus:\n  url: localhost:9090\n", `ringside.yml:3: prometheus.url: `},
		{"credentials in prometheus.url", minimal + "prometheus:\n  url: http://u:planted@localhost:9090\n", `ringside.yml:3: prometheus.url: `},
		{"generated is the source", minimal + "prometheus:\n  generated_config_file: ./prometheus.yml\n", `ringside.yml:3: prometheus.generated_config_file: `},
		{"generated is ringside.yml", minimal + "prometheus:\n  generated_config_file: ringside.yml\n", `ringside.yml:3: prometheus.generated_config_file: `},
		{"source is ringside.yml", minimal + "prometheus: {config_file: ringside.yml}\n", `prometheus.config_file: `},
		{"targets in data_dir", minimal + "prometheus:\n  targets_dir: data/targets\n", `ringside.yml:3: prometheus.targets_dir: `},
		{"targets beside the source", minimal + "prometheus:\n  targets_dir: .\n", `holds more than target files; give it a directory of its own`},
		{"generated in data_dir", minimal + "prometheus:\n  generated_config_file: data/prometheus.yml\n", `lies in data_dir`},
		{"replica_label", minimal + "replica_label: __replica\n", `ringside.yml:2: replica_label: "__replica" is not a label name; use letters, digits and underscores`},
		{"replica_label empty", minimal + "replica_label: ''\n", `replica_label: "" is not a label name`},
		{"one port for two", minimal + "relay:\n  listen_address: 127.0.0.1:7946\n", `ringside.yml:3: relay.listen_address: 127.0.0.1:7946 is cluster.listen_address too`},
		{"bucket twice", minimal + "uploader:\n  bucket: {type: S3}\n  bucket_file: a.yml\n", `ringside.yml:4: uploader.bucket_file: bucket is given too; keep one of the two`},
		{"bucket type", minimal + "uploader:\n  bucket:\n    type: FLOPPY\n", `ringside.yml:4: uploader.bucket.type: "FLOPPY"; give one of ALIYUNOSS, `},
		{"bucket field", minimal + "uploader:\n  bucket:\n    type: S3\n    config:\n      acces_key: planted\n", `ringside.yml:6: uploader.bucket.config.acces_key: unknown field; known here: bucket, `},
		{"an anchor that is not there", minimal + "uploader:\n  bucket: *planted\n", `ringside.yml: not valid YAML: a value begins with *`},
		{"no text", minimal + "#\x00\n", `ringside.yml: not valid YAML: `},
		{"bucket file missing", minimal + "uploader:\n  bucket_file: nosuch.yml\n", `ringside.yml:3: uploader.bucket_file: open `},
		{"no tracing endpoint", minimal + "tracing:\n  insecure: true\n", `ringside.yml:2: tracing: tracing endpoint must be set`},
		{"tracing endpoint", minimal + "tracing:\n  client_type: http\n  endpoint: http://u:planted@collector:4318\n", `ringside.yml:4: tracing.endpoint: not host:port`},
		{"tracing client", minimal + "tracing: {client_type: zipkin, endpoint: 'a:1'}\n", `ringside.yml:2: tracing.client_type: expected tracing client type`},
		{"tracing sampling", minimal + "tracing:\n  endpoint: a:4317\n  sampling_fraction: 100\n", `ringside.yml:4: tracing.sampling_fraction: 100; `},
		{"tracing TLS", minimal + "tracing:\n  endpoint: a:4317\n  tls_config: {ca: planted, ca_file: b}\n", `ringside.yml:4: tracing.tls_config: at most one of`},
		{"tracing headers", minimal + "tracing:\n  endpoint: a:4317\n  headers: planted\n", `ringside.yml:4: tracing.headers: expected fields below it`},
		{"unknown in tracing", minimal + "tracing:\n  endpoint: a:4317\n  header: {}\n", `ringside.yml:4: tracing.header: unknown field; known here: client_type, endpoint, `},
		{"shutdown_wait", minimal + "uploader:\n  shutdown_wait: -5s\n", `ringside.yml:3: uploader.shutdown_wait: `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.text)
			_, err := config.Load(path, false)
			if err == nil {
				t.Fatalf("accepted; want %q", tc.want)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("a secret is told: %s", err)
			}
			if !strings.HasPrefix(err.Error(), path) {
				t.Errorf("%s does not start with the file's path", err)
			}
		})
	}
}

// TestWholeNumbers takes a number that is one, however it is written.
func TestWholeNumbers(t *testing.T) {
	if c := load(t, minimal+"scrape: {replicas: 2.0, capacity_series: 1e6}\n"); c.Scrape.Replicas != 2 || c.Scrape.CapacitySeries != 1_000_000 {
		t.Errorf("%+v", c.Scrape)
	}
}

// TestBadKey names the line of the key file, and the field that names that.
func TestBadKey(t *testing.T) {
	path := write(t, "cluster:\n  name: x\n  key_file: gossip.key\n")
	key := filepath.Join(filepath.Dir(path), "gossip.key")
	if err := os.WriteFile(key, []byte("# a comment\nplanted\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := path + ":3: cluster.key_file: " + key + ":2: not base64: write a key from `ringside keygen`"
	if _, err := config.Load(path, false); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestLocate(t *testing.T) {
	path := write(t, "cluster: {name: prod}\nprometheus:\n  http_config:\n    tls_config: {ca_file: a}\n")
	for _, tc := range []struct{ err, want string }{
		{"prometheus.http_config.tls_config.ca_file: open a", "@:4: prometheus.http_config.tls_config.ca_file: open a"},
		{"prometheus.config_file: open a", "@:2: prometheus.config_file: open a"},
		{"uploader.bucket_file: open a", "@: uploader.bucket_file: open a"},
		{"cluster.name is missing", "@:1: cluster.name is missing"},
		{"/etc/prometheus.yml:3: a", "/etc/prometheus.yml:3: a"},
		{"prometheus.yml:3: a", "prometheus.yml:3: a"},
		{"read a: no such file", "read a: no such file"},
	} {
		want := strings.ReplaceAll(tc.want, "@", path)
		other := errors.New("b")
		if got := config.Locate(path, false, errors.Join(other, errors.Join(errors.New(tc.err)))); got.Error() != "b\n"+want || !errors.Is(got, other) {
			t.Errorf("got  %v\nwant b\n%s", got, want)
		}
	}
	if err := config.Locate(path, false, nil); err != nil {
		t.Errorf("of no error: %v", err)
	}
	if err := config.Locate("nosuch.yml", false, errors.New("cluster.name is missing")); err.Error() != "nosuch.yml: cluster.name is missing" {
		t.Errorf("of a file that is gone: %v", err)
	}
}

func TestAllErrorsAreTold(t *testing.T) {
	_, err := config.Load(write(t, minimal+"scrape:\n  a: 1\n  b: 2\n"), false)
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 2 || !strings.Contains(lines[1], ":4: scrape.b: ") {
		t.Errorf("%q; want a line for each of two errors", lines)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "no.yml"), false); !os.IsNotExist(unwrap(err)) {
		t.Errorf("%v; want it to wrap os.ErrNotExist", err)
	}
}

func unwrap(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil || os.IsNotExist(err) {
			return err
		}
		err = inner.Unwrap()
	}
}

func TestExpandEnv(t *testing.T) {
	t.Setenv("NAME", "prod")
	t.Setenv("TRICKY", `a"b\c: #d`)
	t.Setenv("QUOTED", "it's")
	t.Setenv("LINES", "a\nb: c")
	const block = "cluster:\n  listen_address: 127.0.0.1:7946\n  name: x\n"
	for _, tc := range []struct{ name, text, zone, err string }{
		{"plain", "cluster:\n  listen_address: 127.0.0.1:7946\n  name: ${NAME}\n  zone: x-${NAME}-y\n", "x-prod-y", ""},
		{"in a flow list", "cluster: {listen_address: '127.0.0.1:7946', name: ${NAME}, zone: ${NAME}}\n", "prod", ""},
		{"double quotes", block + "  zone: \"${TRICKY}\"\n", `a"b\c: #d`, ""},
		{"single quotes", block + "  zone: '${QUOTED}'\n", "it's", ""},
		{"apostrophe before", "cluster:\n  listen_address: 127.0.0.1:7946\n  name: x # it's ${NOT_SET}\n  zone: ${NAME}\n", "prod", ""},
		{"dollars", block + "  zone: $$${NAME}-$${NAME}-$x\n", "$prod-${NAME}-$x", ""},
		{"several lines in double quotes", block + "  zone: \"${LINES}\"\n", "", `cluster.zone "a\nb: c"`},
		{"several lines, unquoted", block + "  zone: ${LINES}\n", "", `ringside.yml:4: ${LINES}: the value has more than one line`},
		{"not set", block + "  # ${NOT_SET} is fine here\n\n  zone: ${NOT_SET}\n", "", `ringside.yml:6: ${NOT_SET} is not set in the environment; set it, or write $${NOT_SET} for the text itself`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := config.Load(write(t, tc.text), true)
			switch {
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("got  %v\nwant %s", err, tc.err)
			case tc.err == "" && err != nil:
				t.Error(err)
			case tc.err == "" && c.Cluster.Zone != tc.zone:
				t.Errorf("zone %q, want %q", c.Cluster.Zone, tc.zone)
			}
		})
	}
}

func TestWithoutExpandEnv(t *testing.T) {
	if c := load(t, "cluster:\n  name: x\n  listen_address: 127.0.0.1:7946\n  zone: ${NOT_SET}$$\n"); c.Cluster.Zone != "${NOT_SET}$$" {
		t.Errorf("zone %q; want the text as it is", c.Cluster.Zone)
	}
}

func TestRedacted(t *testing.T) {
	c := load(t, minimal+`
prometheus:
  http_config:
    basic_auth: {username: visible1, password: planted3}
    proxy_url: http://user:planted4@proxy
    http_headers: {X-Key: {values: [planted5], secrets: [planted6]}}
relay:
  upstreams:
    - name: visible2
      endpoints: ["http://receive/visible3?key=planted7"]
      http_config:
        oauth2: {client_id: visible4, client_secret: planted8, token_url: "http://t/?k=planted9", endpoint_params: {password: planted10}}
    - name: second
      endpoints: [http://receive/, {address: "https://visible7/?k=planted18", az: visible8}, "dnssrv+http://visible9/?k=planted19"]
      tenant: {header: visible10, value: planted20}
      sigv4: {region: visible11, access_key: a, secret_key: planted21, role_arn: arn, external_id: planted22}
    - name: third
      hashring: {file: visible12, url: "http://HOST/w?k=planted23"}
      http_config:
        authorization: {credentials: planted11}
uploader:
  bucket:
    type: S3
    prefix: visible5
    config:
      bucket: visible6
      endpoint: visible13
      access_key: planted12
      secret_key: planted13
      sse_config: {encryption_key: planted14, kms_encryption_context: {bucket: planted15}}
      http_config: {tls_config: {server_name: planted16}}
      put_user_metadata: {list: planted17}
tracing:
  endpoint: visible7:4317
  headers: {X-Tenant: planted24}
  tls_config: {ca_file: visible8, cert_file: c, key: planted25}
`)
	text, err := c.Redacted()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "planted") {
		t.Errorf("a secret shows:\n%s", text)
	}
	for _, want := range []string{"visible1", "visible2", "visible3", "visible4", "visible5", "visible6", "visible7/?k=<secret>", "visible7:4317", "visible8", "visible9", "visible10", "visible11", "visible12", "visible3?key=<secret>"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not show:\n%s", want, text)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	dir := t.TempDir()
	at := func(text string) *config.Config {
		path := filepath.Join(dir, "ringside.yml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, false)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := at(minimal)
	for _, tc := range []struct{ text, want string }{
		{minimal, ""},
		{minimal + "scrape: {replicas: 2}\n", ""},
		{minimal + "tracing: {endpoint: 'a:4317'}\n", "tracing"},
		{minimal + "scrape: {replicas: 2}\nreplica_label: r\nuploader: {shutdown_wait: 1s}\n", "replica_label uploader"},
		{strings.Replace(minimal, "prod", "test", 1) + "prometheus: {http_config: {basic_auth: {username: x}}}\n", "cluster prometheus"},
	} {
		if got := strings.Join(old.NeedsRestart(at(tc.text)), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.text, got, tc.want)
		}
	}
}
