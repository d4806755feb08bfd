package promconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// FuzzLoad holds Load to its promise: whatever Prometheus accepts becomes a file
// that Prometheus accepts and reads the same. Load itself compares the two, and
// its only errors here are those that are meant.
func FuzzLoad(f *testing.F) {
	sources, err := filepath.Glob("testdata/sources/*/prometheus.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "prometheus.yml")
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := parse(text)
		if err == nil && len(cfg.ScrapeConfigFiles) > 0 {
			t.Skip("it would read other files")
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		src, loadErr := promconfig.Load(path, options())
		switch {
		case err != nil && loadErr == nil:
			t.Fatalf("Prometheus refuses the source: %v", err)
		case err == nil && loadErr != nil && !meant(loadErr):
			t.Fatalf("Prometheus accepts the source: %v", loadErr)
		case loadErr == nil && len(src.Warnings) > 0 && strings.Contains(src.Warnings[len(src.Warnings)-1], "without the comments"):
			t.Logf("comments lost:\n%s", text)
		}
	})
}

// parse is Prometheus's own, which crashes on a null in alertmanagers.
func parse(text []byte) (cfg *config.Config, err error) {
	defer func() {
		if crash := recover(); crash != nil {
			err = fmt.Errorf("crash: %v", crash)
		}
	}()
	return config.Load(string(text), promslog.NewNopLogger())
}

// meant tells the refusals of Ringside's own.
func meant(err error) bool {
	for _, part := range []string{"the replica label, so that", "not a label name", "is named ringside-", "would have one target file", "too large once"} {
		if strings.Contains(err.Error(), part) {
			return true
		}
	}
	return false
}
