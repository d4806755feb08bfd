package upstream

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/relay/hashring"
)

// parse reads one entry of relay.upstreams.
func parse(text string) (Config, error) {
	var cfg Config
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate("relay.upstreams[0]")
}

func TestConfigWhole(t *testing.T) {
	cfg, err := parse(`
name: receive
endpoints: [http://receive-0:19291/api/v1/receive, {address: "https://receive-1:19291/api/v1/receive?key=x", az: eu-1a}, dnssrv+http://_http._tcp.receive.svc/api/v1/receive]
hashring: {algorithm: ketama}
replication_factor: 5
required: false
queue_bytes: 1GiB
replica_label: drop
protobuf_message: io.prometheus.write.v2.Request
tenant: {header: THANOS-TENANT, value: team-a}
remote_timeout: 5s
write_relabel_configs: [{source_labels: [__name__], regex: "go_.*", action: drop}, {regex: "größe", action: labeldrop}]
sigv4: {region: eu-central-1, access_key: a, secret_key: b}
http_config: {tls_config: {ca_file: ca.pem}}
`)
	if err != nil {
		t.Fatal(err)
	}
	cfg.SetDirectory("/etc/ringside")
	if file := cfg.HTTPConfig.TLSConfig.CAFile; file != "/etc/ringside/ca.pem" {
		t.Errorf("CA file is %s", file)
	}
	if cfg.Required || cfg.ReplicationFactor != 5 || cfg.ReplicaLabel != "drop" || cfg.Tenant.Value != "team-a" || cfg.QueueBytes != units.GiB ||
		time.Duration(cfg.RemoteTimeout) != 5*time.Second || len(cfg.WriteRelabelConfigs) != 2 || cfg.SigV4.Region != "eu-central-1" {
		t.Errorf("got %+v", cfg)
	}
	if cfg.Endpoints[0].AZ != "" || cfg.Endpoints[1].AZ != "eu-1a" || !cfg.Endpoints[2].named() {
		t.Errorf("endpoints %+v", cfg.Endpoints)
	}
	if cfg.HTTPConfig.EnableHTTP2 || cfg.HTTPConfig.FollowRedirects {
		t.Error("HTTP/2 or redirects are on, which nobody has asked for")
	}
	out, err := yaml.Marshal(cfg)
	if err != nil || !strings.Contains(string(out), "- http://receive-0:19291/api/v1/receive\n") || !strings.Contains(string(out), "az: eu-1a") {
		t.Errorf("rendered (%v):\n%s", err, out)
	}
	if strings.Contains(string(out), "team-a") || strings.Contains(string(out), "secret_key: b") {
		t.Errorf("a secret shows:\n%s", out)
	}
}

func TestConfigHTTP2(t *testing.T) {
	cfg, err := parse("{name: a, endpoints: [http://a/], http_config: {enable_http2: true, follow_redirects: false}}")
	if err != nil || !cfg.HTTPConfig.EnableHTTP2 {
		t.Errorf("%v, HTTP/2 %v", err, cfg.HTTPConfig.EnableHTTP2)
	}
}

func TestConfigRefuses(t *testing.T) {
	with := func(fields string) string { return "{name: a, endpoints: [http://a/], " + fields + "}" }
	for _, tc := range []struct{ name, text, want string }{
		{"unknown field", with("retries: 3"), "line 1: field retries not found"},
		{"unknown field of an endpoint", "{name: a, endpoints: [{address: http://a/, zone: b}]}", "field zone not found"},
		{"unknown field of http_config", with("http_config: {password: x}"), "field password not found"},
		{"no endpoints", "name: a", "relay.upstreams[0].endpoints: missing; list the URLs to write to, such as http://receive-0:19291/api/v1/receive"},
		{"not http", "{name: a, endpoints: [http://a/, ftp://s3cret@b/]}", "relay.upstreams[0].endpoints[1]: not an http or https URL such as http://receive-0:19291/api/v1/receive"},
		{"no URL", "{name: a, endpoints: ['http://u:s3cret@a b/']}", "relay.upstreams[0].endpoints[0]: not an http"},
		{"no host", "{name: a, endpoints: ['http://:9090/']}", "not an http"},
		{"credentials in the URL", "{name: a, endpoints: ['http://u:s3cret@a/']}", "relay.upstreams[0].endpoints[0]: holds credentials; give them in http_config.basic_auth, where they stay secret"},
		{"an endpoint twice", "{name: a, endpoints: [http://a/, {address: http://a/}]}", "relay.upstreams[0].endpoints[1]: the same as endpoints[0]; copies must go to different endpoints"},
		{"an SRV record's port", "{name: a, endpoints: ['dnssrv+http://_http._tcp.a:80/']}", "relay.upstreams[0].endpoints[0]: has a port, which is for the SRV record to say"},
		{"no URL after dnssrv+", "{name: a, endpoints: [dnssrv+_http._tcp.a]}", "relay.upstreams[0].endpoints[0]: not an http"},
		{"a zone for hashmod", "{name: a, endpoints: [{address: http://a/, az: b}], hashring: {algorithm: hashmod}}", "relay.upstreams[0].endpoints[0].az: hashmod knows no zones; leave it out, or write algorithm: ketama"},
		{"algorithm", with("hashring: {algorithm: jump}"), `relay.upstreams[0].hashring.algorithm: "jump"; write ketama or hashmod`},
		{"file and endpoints", with("hashring: {file: f}"), "relay.upstreams[0].hashring.file: endpoints are given too, and the file lists its own; keep one of the two"},
		{"url without file", with("hashring: {url: http://a/}"), "relay.upstreams[0].hashring.url: there is no file whose addresses it would complete"},
		{"url", "{name: a, hashring: {file: f, url: 'http://u:s3cret@a/'}}", "relay.upstreams[0].hashring.url: holds credentials"},
		{"no copies", with("replication_factor: 0"), "relay.upstreams[0].replication_factor: 0; with these endpoints it must be from 1 to 1"},
		{"more copies than endpoints", with("replication_factor: 2"), "replication_factor: 2; with these endpoints it must be from 1 to 1"},
		{"no copies of a file's endpoints", "{name: a, hashring: {file: f}, replication_factor: -1}", "relay.upstreams[0].replication_factor: -1; it must be 1 or more"},
		{"replica label", with("replica_label: remove"), `relay.upstreams[0].replica_label: "remove"; write keep or drop`},
		{"message", with("protobuf_message: v2"), `relay.upstreams[0].protobuf_message: "v2"; write auto, prometheus.WriteRequest or io.prometheus.write.v2.Request`},
		{"time-out too short", with("remote_timeout: 999ms"), "relay.upstreams[0].remote_timeout: 999ms; it must be from 1s to 25s, so that Prometheus gets its answer before it gives up"},
		{"time-out too long", with("remote_timeout: 26s"), "relay.upstreams[0].remote_timeout: 26s;"},
		{"queue too small", with("queue_bytes: 1KiB"), "relay.upstreams[0].queue_bytes: 1KiB; it must be 1MiB or more, to hold a request"},
		{"tenant without header", with("tenant: {value: s3cret}"), "relay.upstreams[0].tenant: give a header, and either value or label"},
		{"tenant without value", with("tenant: {header: X}"), "either value or label"},
		{"tenant with both", with("tenant: {header: X, value: s3cret, label: b}"), "either value or label"},
		{"tenant header", with("tenant: {header: 'X Y', value: s3cret}"), `relay.upstreams[0].tenant: header: "X Y" is not the name of an HTTP header`},
		{"tenant in a header with a meaning", with("tenant: {header: content-type, value: s3cret}"), "relay.upstreams[0].tenant: header: content-type says something else in a request"},
		{"tenant value", with(`tenant: {header: X, value: "s3cret\n"}`), "relay.upstreams[0].tenant: value: not what an HTTP header can carry"},
		{"relabelling", with("write_relabel_configs: [{action: hashmod, target_label: a}]"), "relay.upstreams[0].write_relabel_configs[0]: relabel configuration for hashmod requires non-zero modulus"},
		{"no rule", with("write_relabel_configs: [null]"), "relay.upstreams[0].write_relabel_configs[0]: empty"},
		{"sigv4", with("sigv4: {access_key: a}"), "must provide a AWS SigV4 Access key and Secret Key"},
		{"sigv4 and other credentials", with("sigv4: {region: a}, http_config: {bearer_token: s3cret}"), "relay.upstreams[0].sigv4: http_config has credentials too, and a request carries only one kind; keep one of the two"},
		{"http_config", with("http_config: {bearer_token: s3cret, bearer_token_file: f}"), "at most one of bearer_token"},
		{"redirects", with("http_config: {follow_redirects: true}"), "redirects are never followed, for samples and credentials would go elsewhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestHashringAddresses(t *testing.T) {
	const template = "http://any.host:19291/api/v1/receive?k=v"
	for _, tc := range []struct{ template, address, want, err string }{
		{template, "receive-0.svc:10901", "http://receive-0.svc:19291/api/v1/receive?k=v", ""},
		{template, "receive-0", "http://receive-0:19291/api/v1/receive?k=v", ""},
		{template, "10.0.0.1:10901", "http://10.0.0.1:19291/api/v1/receive?k=v", ""},
		{template, "[::1]:10901", "http://[::1]:19291/api/v1/receive?k=v", ""},
		{"https://host/w", "[fe80::1]:10901", "https://[fe80::1]/w", ""},
		{"https://host/w", "receive-0:10901", "https://receive-0/w", ""},
		{template, "https://elsewhere/write", "https://elsewhere/write", ""},
		{"", "https://elsewhere/write", "https://elsewhere/write", ""},
		{"", "receive-0:10901", "", "not a URL; say in hashring.url what becomes of such an address"},
		{template, "a b:10901", "", "not an http or https URL"},
		{template, "https://u:p@elsewhere/", "", "holds credentials"},
	} {
		h := Hashring{File: "f", URL: tc.template}
		got, err := h.expand(tc.address)
		switch {
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: got %v, want %s", tc.address, err, tc.err)
		case tc.err == "" && (err != nil || got != tc.want):
			t.Errorf("%s: got %s, %v, want %s", tc.address, got, err, tc.want)
		}
	}
	if (&Hashring{}).algorithm() != hashring.Ketama {
		t.Error("the algorithm is not ketama where none is named")
	}
}
