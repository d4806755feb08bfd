package relay

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func parse(text string) (Config, error) {
	cfg := DefaultConfig
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func TestConfigDefaults(t *testing.T) {
	cfg, err := parse("upstreams: [{name: receive, endpoints: [http://receive/api/v1/receive]}]")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultUpstream
	want.Name, want.Endpoints = "receive", []string{"http://receive/api/v1/receive"}
	if cfg.ListenAddress != "127.0.0.1:9591" || !reflect.DeepEqual(cfg.Upstreams, []Upstream{want}) {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigWhole(t *testing.T) {
	cfg, err := parse(`
listen_address: 127.0.0.1:0
upstreams:
  - name: receive
    endpoints: [http://receive-0:19291/api/v1/receive, https://receive-1:19291/api/v1/receive]
    replication_factor: 2
    required: false
    replica_label: drop
    protobuf_message: io.prometheus.write.v2.Request
    tenant: {header: THANOS-TENANT, value: team-a}
    http_config: {basic_auth: {username: u, password_file: pw}}
  - name: mimir
    endpoints: [http://mimir/api/v1/push]
    tenant: {header: X-Scope-OrgID, label: team}
`)
	if err != nil {
		t.Fatal(err)
	}
	cfg.SetDirectory("/etc/ringside")
	if file := cfg.Upstreams[0].HTTPConfig.BasicAuth.PasswordFile; file != "/etc/ringside/pw" {
		t.Errorf("password file is %s", file)
	}
	if u := cfg.Upstreams[0]; u.Required || u.ReplicationFactor != 2 || u.ReplicaLabel != "drop" || u.Tenant.Value != "team-a" {
		t.Errorf("got %+v", u)
	}
	if u := cfg.Upstreams[1]; !u.Required || u.Tenant.Label != "team" {
		t.Errorf("got %+v", u)
	}
}

func TestConfigRefuses(t *testing.T) {
	upstream := func(fields string) string { return "upstreams: [{name: a, endpoints: [http://a/], " + fields + "}]" }
	for _, tc := range []struct{ name, text, want string }{
		{"unknown field", "listen: x", "line 1: field listen not found"},
		{"unknown field of an upstream", upstream("required: true, retries: 3"), "line 1: field retries not found"},
		{"unknown field of http_config", upstream("http_config: {password: x}"), "field password not found"},
		{"no port", "listen_address: localhost", `relay.listen_address: "localhost" is not an address`},
		{"port out of range", "listen_address: localhost:70000", "relay.listen_address:"},
		{"no name", "upstreams: [{endpoints: [http://a/]}]", "relay.upstreams[0].name: missing"},
		{"a name twice", "upstreams: [{name: a, endpoints: [http://a/]}, {name: a, endpoints: [http://b/]}]", `relay.upstreams[1].name: "a" has an entry`},
		{"no endpoints", "upstreams: [{name: a}]", "relay.upstreams[0].endpoints: missing"},
		{"not http", "upstreams: [{name: a, endpoints: [http://a/, ftp://s3cret@b/]}]", "relay.upstreams[0].endpoints[1]: not an http"},
		{"no URL", "upstreams: [{name: a, endpoints: ['http://u:s3cret@a b/']}]", "relay.upstreams[0].endpoints[0]: not an http"},
		{"no host", "upstreams: [{name: a, endpoints: ['http://:9090/']}]", "not an http"},
		{"credentials in the URL", "upstreams: [{name: a, endpoints: ['http://u:s3cret@a/']}]", "http_config.basic_auth"},
		{"an endpoint twice", "upstreams: [{name: a, endpoints: [http://a/, http://a/]}]", "relay.upstreams[0].endpoints[1]: the same as endpoints[0]"},
		{"no copies", upstream("replication_factor: 0"), "relay.upstreams[0].replication_factor: 0; with these endpoints it must be from 1 to 1"},
		{"more copies than endpoints", upstream("replication_factor: 2"), "replication_factor: 2;"},
		{"replica label", upstream("replica_label: remove"), `relay.upstreams[0].replica_label: "remove"; write keep or drop`},
		{"message", upstream("protobuf_message: v2"), `relay.upstreams[0].protobuf_message: "v2"; write auto`},
		{"tenant without header", upstream("tenant: {value: s3cret}"), "relay.upstreams[0].tenant: give a header"},
		{"tenant without value", upstream("tenant: {header: X}"), "either value or label"},
		{"tenant with both", upstream("tenant: {header: X, value: s3cret, label: b}"), "either value or label"},
		{"tenant header", upstream("tenant: {header: 'X Y', value: s3cret}"), `"X Y" is not the name of an HTTP header`},
		{"tenant value", upstream(`tenant: {header: X, value: "s3cret\n"}`), "tenant: value: not what"},
		{"http_config", upstream("http_config: {bearer_token: s3cret, bearer_token_file: f}"), "at most one of bearer_token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
