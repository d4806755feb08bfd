package agent_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/agent"
	"github.com/ringside-project/ringside/config"
)

// TestCheckFiles wants the files that New reads to be looked at, and nothing to be made.
func TestCheckFiles(t *testing.T) {
	const upstreams = "relay: {upstreams: [{name: a, endpoints: ['http://a/']}, {name: b, %s}]}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"nothing named", "", ""},
		{"no CA", "prometheus: {http_config: {tls_config: {ca_file: no.pem}}}\n", "prometheus.http_config.tls_config.ca_file: open @/no.pem: no such file or directory; name a file"},
		{"a CA that is none", "prometheus: {http_config: {tls_config: {ca_file: bad.pem}}}\n", "prometheus.http_config.tls_config: unable to use specified CA cert "},
		{"no certificate", "prometheus: {http_config: {tls_config: {cert_file: no.pem, key_file: bad.pem}}}\n", "prometheus.http_config.tls_config.cert_file: open @/no.pem"},
		{"no key", "prometheus: {http_config: {tls_config: {cert_file: bad.pem, key_file: no.pem}}}\n", "prometheus.http_config.tls_config.key_file: open @/no.pem"},
		{"a key that is none", "prometheus: {http_config: {tls_config: {cert_file: bad.pem, key_file: bad.pem}}}\n", "prometheus.http_config.tls_config: unable to use specified client cert "},
		{"no CA of an upstream", fmt.Sprintf(upstreams, "endpoints: ['http://b/'], http_config: {tls_config: {ca_file: no.pem}}"), "relay.upstreams[1].http_config.tls_config.ca_file: open @/no.pem"},
		{"no hashrings", fmt.Sprintf(upstreams, "hashring: {file: no.json}"), "relay.upstreams[1].hashring.file: open @/no.json"},
		{"hashrings that are none", fmt.Sprintf(upstreams, "hashring: {file: bad.json}"), "relay.upstreams[1].hashring.file: hashring file @/bad.json: no hashring; write at least one"},
		{"hashrings without URLs", fmt.Sprintf(upstreams, "hashring: {file: ring.json}"), "relay.upstreams[1].hashring.file: hashring file @/ring.json: "},
		{"hashrings", fmt.Sprintf(upstreams, "hashring: {file: ring.json, url: 'http://HOST:19291/'}, tenant: {header: T, label: team}"), ""},
		{"no CA of tracing", "tracing: {endpoint: 'a:4317', tls_config: {ca_file: no.pem}}\n", "tracing.tls_config.ca_file: open @/no.pem"},
		{"all of them", fmt.Sprintf(upstreams, "hashring: {file: no.json}") + "tracing: {endpoint: 'a:4317', tls_config: {ca_file: no.pem}}\n", "tracing.tls_config.ca_file: open @/no.pem"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			file(t, dir, "bad.pem", "planted\n")
			file(t, dir, "bad.json", "[]\n")
			file(t, dir, "ring.json", `[{"endpoints": ["receive-0:10901"]}]`)
			file(t, dir, "prometheus.yml", source)
			cfg, err := config.Load(file(t, dir, "ringside.yml", "cluster: {name: prod, node: a, listen_address: '127.0.0.1:0'}\n"+tc.text), false)
			if err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = agent.Check(cfg)
			want := strings.ReplaceAll(tc.want, "@", dir)
			if (err != nil) != (want != "") || err != nil && (!strings.Contains("\n"+err.Error(), "\n"+want) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
				t.Errorf("%d files before, %d after, %v", len(before), len(after), err)
			}
		})
	}
}
