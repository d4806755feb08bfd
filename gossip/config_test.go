package gossip

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

func parseConfig(t *testing.T, text string) (Config, error) {
	t.Helper()
	var c Config
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(&c)
	return c, err
}

func TestConfigDefaults(t *testing.T) {
	c, err := parseConfig(t, "name: prod\nkey_file: gossip.key\n")
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	if c.Node != host || c.ListenAddress != "0.0.0.0:7946" || c.RejoinInterval != model.Duration(15*time.Second) || c.MinMembers != 1 {
		t.Errorf("%+v", c)
	}
	if c.SetDirectory("/etc/ringside"); c.KeyFile != "/etc/ringside/gossip.key" {
		t.Errorf("key file %s", c.KeyFile)
	}
	if c.SetDirectory("/elsewhere"); c.KeyFile != "/etc/ringside/gossip.key" {
		t.Errorf("key file %s", c.KeyFile)
	}
	if _, err := parseConfig(t, "name: prod\npeer: []\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	good := file("good", "# for production\n\n"+key+"\n"+base64.StdEncoding.EncodeToString(make([]byte, 16))+"\n")
	base := "name: prod\nlisten_address: 127.0.0.1:7946\n"
	tests := []struct {
		name, yaml string
		want       []string // parts of the error; none = valid
	}{
		{"loopback needs no key", base, nil},
		{"IPv6 loopback", "name: prod\nlisten_address: '[::1]:0'\nadvertise_address: ::1\n", nil},
		{"key", "name: prod\nkey_file: " + good, nil},
		{"insecure", "name: prod\ninsecure: true\nadvertise_address: ringside-0.example:7947", nil},
		{"peers", base + "peers: ['10.0.0.1:7946', '[::1]:1', 'dns+a.b:7946', 'dnssrv+_gossip._tcp.ringside']", nil},
		{"no name", "insecure: true", []string{"cluster.name is missing", "such as prod/monitoring"}},
		{"long name", "insecure: true\nname: " + strings.Repeat("x", 129), []string{"cluster.name has 129 bytes"}},
		{"odd node", base + `node: "a\nb"`, []string{"cluster.node", "such as prometheus-0"}},
		{"long zone", base + "zone: " + strings.Repeat("x", 129), []string{"cluster.zone has 129 bytes"}},
		{"no port", "name: prod\nlisten_address: 127.0.0.1", []string{"cluster.listen_address", "such as 0.0.0.0:7946"}},
		{"bad port", "name: prod\nlisten_address: 127.0.0.1:http", []string{`"http" is not a port`, "0.0.0.0:7946"}},
		{"host to listen on", "name: prod\nlisten_address: localhost:7946", []string{`"localhost" is not an IP address`, "0.0.0.0:7946"}},
		{"all of IPv6", "name: prod\ninsecure: true\nlisten_address: '[::]:7946'", []string{"cluster.advertise_address is missing"}},
		{"bad advertise", base + "advertise_address: a:b", []string{"cluster.advertise_address", "10.0.0.7:7946"}},
		{"peer without port", base + "peers: [ringside-0]", []string{`cluster.peers "ringside-0"`, "host:port"}},
		{"peer of unknown kind", base + "peers: ['srv+a:1']", []string{"cluster.peers", "dnssrv+name"}},
		{"SRV with port", base + "peers: ['dnssrv+a:1']", []string{"cluster.peers", "without a port"}},
		{"URL", base + "peers: ['http://a:1']", []string{"cluster.peers", "host:port"}},
		{"no interval", base + "rejoin_interval: 0s", []string{"cluster.rejoin_interval", "15s"}},
		{"no members", base + "min_members: 0", []string{"cluster.min_members", "1 or more"}},
		{"no key", "name: prod", []string{"cluster.key_file is missing", "ringside keygen", "insecure: true"}},
		{"advertised off loopback", base + "advertise_address: 10.0.0.1", []string{"cluster.key_file is missing"}},
		{"on all interfaces", "name: prod\nadvertise_address: 127.0.0.1", []string{"cluster.key_file is missing"}},
		{"no such key file", base + "key_file: " + dir + "/none", []string{"cluster.key_file", "/none", "ringside keygen"}},
		{"empty key file", base + "key_file: " + file("empty", "# nothing\n"), []string{"empty", "has no key"}},
		{"not base64", base + "key_file: " + file("torn", key+"\n"+secret+"\n"), []string{"torn:2", "not base64", "ringside keygen"}},
		{"short key", base + "key_file: " + file("short", secret[:8]+"\n"), []string{"short:1", "6 bytes", "16, 24 or 32"}},
		{"huge key file", base + "key_file: " + file("huge", strings.Repeat("#", maxKeyFile+1)), []string{"huge", "at most"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseConfig(t, tt.yaml)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Validate()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Validate: %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
			if err != nil && (strings.Contains(err.Error(), secret[:8]) || strings.Contains(err.Error(), key)) {
				t.Errorf("%q shows a key", err)
			}
		})
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("# comment\nAAAAAAAAAAAAAAAAAAAAAA==\n"))
	f.Add([]byte("AAAA"))
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := parseKeys("gossip.key", content)
		if err == nil && len(keys) == 0 {
			t.Error("no keys and no error")
		}
		for _, key := range keys {
			if memberlist.ValidateKey(key) != nil {
				t.Errorf("a key of %d bytes", len(key))
			}
		}
	})
}

func FuzzPeer(f *testing.F) {
	for _, s := range []string{"10.0.0.1:7946", "[::1]:1", "dns+a.b:7946", "dnssrv+_gossip._tcp.ringside", "a/b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePeer(s)
		if err == nil && (p.host == "" || p.srv == (p.port != 0)) {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
