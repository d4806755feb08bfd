package uploader_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/uploader"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.yml":    "type: S3\nconfig: {bucket: b, endpoint: e}\n",
		"type.yml":    "type: TAPE\n",
		"empty.yml":   "",
		"unknown.yml": "type: S3\nbuckett: b\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		text    string
		enabled bool
		err     string // in part; empty: none
	}{
		{"{}", false, ""},
		{"bucket: {type: filesystem, config: {directory: blocks}}", true, ""},
		{"bucket_file: good.yml", true, ""},
		{"bucket_file: type.yml", true, `type: "TAPE"; give one of `},
		{"bucket_file: unknown.yml", true, "buckett"},
		{"bucket_file: empty.yml", true, "empty.yml: it is empty; write type: S3"},
		{"bucket_file: nosuch.yml", true, "no such file"},
		{"bucket: {type: S3}\nbucket_file: good.yml", true, "uploader.bucket_file: bucket is given too"},
		{"bucket: {}", true, `uploader.bucket.type: ""; give one of `},
		{"shutdown_wait: -1s", false, "not a valid duration"},
	} {
		var c uploader.Config
		err := yaml.Unmarshal([]byte(tc.text), &c)
		if err == nil {
			c.SetDirectory(dir)
			err = c.Validate()
		}
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v; want %q", tc.text, err, tc.err)
		}
		if c.Enabled() != tc.enabled {
			t.Errorf("%s: enabled %v, want %v", tc.text, c.Enabled(), tc.enabled)
		}
	}
}

// TestRelativeDirectory has it start where ringside.yml is, wherever it is written.
func TestRelativeDirectory(t *testing.T) {
	for _, text := range []string{
		"bucket: {type: FILESYSTEM, config: {directory: blocks}}",
		"bucket_file: secret/bucket.yml",
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "secret"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "secret/bucket.yml"), []byte("type: FILESYSTEM\nconfig: {directory: blocks}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var c uploader.Config
		if err := yaml.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		c.SetDirectory(dir)
		bkt, err := c.OpenBucket(log.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		if err := bkt.Upload(t.Context(), "x", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "blocks", "x")); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
