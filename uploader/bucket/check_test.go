package bucket_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/uploader/bucket"
)

const (
	shortSecret = "SKPLANT8"
	longSecret  = "SKPLANTEDSECRETOFFORTYCHARACTERS0123456789"
)

// bad are files of a bucket, with what is said of them.
var bad = []struct{ name, text, want string }{
	{"empty", "", "bucket.yml: it is empty; write type: S3 and below it config: "},
	{"only a comment", "# later\n", "bucket.yml: it is empty; write type: S3"},
	{"unknown field of ours", "type: S3\nbuckett: b\n", "bucket.yml:2: buckett: unknown field; known here: type, config, prefix"},
	{"unknown field", "type: S3\n# the keys\nconfig:\n  bucket: m\n  acces_key: SECRET\n", "bucket.yml:5: config.acces_key: unknown field; known here: bucket, endpoint, region, "},
	{"unknown field, deep", "type: S3\nconfig:\n  bucket: m\n  http_config:\n    tls_config: {\n      nosuch: SECRET}\n", "bucket.yml:6: config.http_config.tls_config.nosuch: unknown field; known here: ca_file, "},
	{"wrong type", "type: S3\nconfig:\n  bucket: m\n  insecure: SECRET\n", "bucket.yml:4: config.insecure: expected true or false"},
	{"old boolean", "type: S3\nconfig:\n  bucket: m\n  endpoint: e\n  insecure: yes\n", "bucket.yml:5: config.insecure: expected true or false"},
	{"fields for a text", "type: S3\nconfig:\n  bucket: m\n  secret_key: {a: SECRET}\n", "bucket.yml:4: config.secret_key: expected a text"},
	{"text for fields", "type: S3\nconfig:\n  http_config: SECRET\n", "bucket.yml:3: config.http_config: expected fields below it"},
	{"text for all fields", "type: S3\nconfig: SECRET\n", "bucket.yml:2: expected fields below it"},
	{"number", "type: S3\nconfig: {bucket: m, part_size: SECRET}\n", "bucket.yml:2: config.part_size: expected a whole number"},
	{"duration", "type: S3\nconfig:\n  bucket: m\n  http_config:\n    idle_conn_timeout: SECRET\n", "bucket.yml:4: config.http_config: not a duration; write one as 15s"},
	{"lookup type", "type: S3\nconfig:\n  bucket_lookup_type: auto2\n", "bucket.yml:3: config.bucket_lookup_type: unsupported bucket lookup type"},
	{"an alias", "type: S3\nconfig:\n  secret_key: *SECRET\n", "bucket.yml: not valid YAML: a value that begins with * is a reference to an anchor; quote it"},
	{"a tag", "type: S3\nconfig:\n  max_retries: !!int SECRET\n", "bucket.yml: not valid YAML: cannot decode the value as a !!int"},
	{"syntax", "type: S3\nconfig: {secret_key: SECRET\n", "bucket.yml:1: not valid YAML: did not find expected"},
	{"no bucket", "type: S3\nconfig:\n  endpoint: e\n", "bucket.yml:2: config: bucket is missing; S3 needs bucket and endpoint"},
	{"empty bucket", "type: S3\nconfig:\n  endpoint: e\n  bucket: ''\n", "bucket.yml:2: config: bucket is missing; S3 needs bucket and endpoint"},
	{"no endpoint", "type: S3\nconfig: {bucket: m}\n", "bucket.yml:2: config: endpoint is missing; S3 needs bucket and endpoint"},
	{"no config", "type: s3\n", "bucket.yml: config: bucket is missing; S3 needs"},
	{"half of the credentials", "type: S3\nconfig: {bucket: m, endpoint: e, secret_key: SECRET}\n", "bucket.yml:2: config: no s3 access_key specified"},
	{"no directory", "type: FILESYSTEM\n", "bucket.yml: config: directory is missing; FILESYSTEM needs directory"},
	{"a directory mistyped", "type: FILESYSTEM\nconfig: {directry: SECRET}\n", "bucket.yml:2: config.directry: unknown field; known here: directory"},
	{"no container", "type: AZURE\nconfig: {storage_account: a}\n", "bucket.yml:2: config: container is missing; AZURE needs storage_account and container"},
	{"two ways in", "type: AZURE\nconfig: {storage_account: a, container: c, user_assigned_id: SECRET, client_id: SECRET}\n", "bucket.yml:2: config: user_assigned_id cannot be set"},
	{"type", "type: TAPE\n", `bucket.yml:1: type: "TAPE"; give one of`},
}

// TestCheckFile wants the file, the line and what to write, and no part of a value.
func TestCheckFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bucket.yml")
	for _, tc := range bad {
		for _, secret := range []string{shortSecret, longSecret} {
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(tc.text, "SECRET", secret)), 0o600); err != nil {
				t.Fatal(err)
			}
			err := bucket.CheckFile(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("%s: %v; want %s", tc.name, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "SKP") {
				t.Errorf("%s: a part of a secret shows: %v", tc.name, err)
			}
		}
	}
	if err := bucket.CheckFile(path + ".no"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
}

// TestOpenRefusesWhatCheckDoes has a sidecar refuse it at its start, in the same words.
func TestOpenRefusesWhatCheckDoes(t *testing.T) {
	for _, tc := range bad {
		for _, secret := range []string{shortSecret, longSecret} {
			c := &bucket.Config{}
			err := yaml.Unmarshal([]byte(strings.ReplaceAll(tc.text, "SECRET", secret)), c)
			if err == nil {
				checked := c.Check()
				_, err = bucket.Open(c, log.NewNopLogger())
				if err == nil || checked == nil || err.Error() != checked.Error() {
					if tc.name != "unknown field of ours" { // of which only a strict decoder knows
						t.Errorf("%s: opened: %v; checked: %v", tc.name, err, checked)
					}
				}
			}
			if err != nil && strings.Contains(err.Error(), "SKP") && tc.name != "an alias" { // whose text is YAML's
				t.Errorf("%s: a part of a secret shows: %v", tc.name, err)
			}
		}
	}
}

// TestCheckTouchesNothing: no directory is made or cleaned, and nobody is asked.
func TestCheckTouchesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blocks")
	for _, c := range []*bucket.Config{
		filesystem(dir),
		{Type: "S3", Config: map[string]any{"bucket": "b", "endpoint": "192.0.2.1:1", "insecure": true}},
		{Type: "AZURE", Config: map[string]any{"storage_account": "a", "container": "c", "storage_account_key": "a2V5"}},
	} {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", c.Type, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory has been made")
	}
}
