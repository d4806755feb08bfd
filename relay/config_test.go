package relay

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/relay/upstream"
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
	want := upstream.DefaultConfig
	want.Name, want.Endpoints = "receive", []upstream.Endpoint{{Address: "http://receive/api/v1/receive"}}
	if cfg.ListenAddress != "127.0.0.1:9591" || cfg.Labels != nil || !reflect.DeepEqual(cfg.Upstreams, []upstream.Config{want}) {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigWhole(t *testing.T) {
	cfg, err := parse(`
listen_address: 127.0.0.1:0
labels: {cluster: eu-1, _note: "über alles"}
upstreams:
  - name: receive
    endpoints: [http://receive-0:19291/api/v1/receive, https://receive-1:19291/api/v1/receive]
    http_config: {basic_auth: {username: u, password_file: pw}}
  - name: mimir
    hashring: {file: hashrings.json}
    tenant: {header: X-Scope-OrgID, label: team}
`)
	if err != nil {
		t.Fatal(err)
	}
	cfg.SetDirectory("/etc/ringside")
	if file := cfg.Upstreams[0].HTTPConfig.BasicAuth.PasswordFile; file != "/etc/ringside/pw" {
		t.Errorf("password file is %s", file)
	}
	if file := cfg.Upstreams[1].Hashring.File; file != "/etc/ringside/hashrings.json" {
		t.Errorf("hashring file is %s", file)
	}
	if cfg.Labels["cluster"] != "eu-1" || len(cfg.Upstreams) != 2 || cfg.Upstreams[1].Tenant.Label != "team" {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigRefuses(t *testing.T) {
	upstream := func(fields string) string { return "upstreams: [{name: a, endpoints: [http://a/], " + fields + "}]" }
	for _, tc := range []struct{ name, text, want string }{
		{"unknown field", "listen: x", "line 1: field listen not found"},
		{"unknown field of an upstream", upstream("required: true, retries: 3"), "line 1: field retries not found"},
		{"no port", "listen_address: localhost", `relay.listen_address: "localhost" is not an address`},
		{"port out of range", "listen_address: localhost:70000", "relay.listen_address:"},
		{"label name", "labels: {a-b: c}", `relay.labels: "a-b" is not a label name; use letters, digits and underscores, such as cluster`},
		{"label of Prometheus's own", "labels: {__name__: c}", `relay.labels: "__name__" is not a label name`},
		{"label without a name", "labels: {'': c}", `relay.labels: "" is not a label name`},
		{"label without a value", "labels: {b: x, a: ''}", "relay.labels: a has no value; a label without one is no label: leave it out"},
		{"too many labels", "labels: {a1: x, a2: x, a3: x, a4: x, a5: x, a6: x, a7: x, a8: x, a9: x, b1: x, b2: x, b3: x, b4: x, b5: x, b6: x, b7: x, b8: x, b9: x, c1: x, c2: x, c3: x, c4: x, c5: x, c6: x, c7: x}", "relay.labels: 25 labels; at most 24 can be added"},
		{"label that is not UTF-8", "labels: {a: !!binary /w==}", "relay.labels: the value of a is not UTF-8"},
		{"no name", "upstreams: [{endpoints: [http://a/]}]", "relay.upstreams[0].name: missing"},
		{"a name twice", "upstreams: [{name: a, endpoints: [http://a/]}, {name: a, endpoints: [http://b/]}]", `relay.upstreams[1].name: "a" has an entry`},
		{"no endpoints", "upstreams: [{name: a}]", "relay.upstreams[0].endpoints: missing"},
		{"the second upstream", "upstreams: [{name: a, endpoints: [http://a/]}, {name: b, endpoints: [http://b/], replica_label: x}]", "relay.upstreams[1].replica_label: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
