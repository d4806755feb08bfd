package scrape

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSource(t *testing.T) {
	for name, test := range map[string]struct {
		prepare map[string]string // files by path; a path that ends with a slash is a directory
		warning string
		err     string
	}{
		"good":                        {},
		"rules that do not parse":     {prepare: map[string]string{"rules/a.yml": "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]\n"}, err: "rules/a.yml:1: group \"g\", rule 1, \"A\": could not parse expression: "},
		"rules with a typing error":   {prepare: map[string]string{"rules/a.yml": "groups: [{name: g, ruls: []}]\n"}, err: "rules/a.yml:1: groups[0].ruls: unknown field; did you mean rules?"},
		"somebody's own file":         {prepare: map[string]string{"run/prometheus.yml": "global: {}\n"}, err: "has not generated"},
		"a directory for a file":      {prepare: map[string]string{"run/prometheus.yml/": ""}, err: "is a directory; name a file that this user may read and write"},
		"a file for a directory":      {prepare: map[string]string{"run": ""}, err: "is not a directory"},
		"a file above the directory":  {prepare: map[string]string{"run/targets": ""}, err: "prometheus.targets_dir: "},
		"a job that is not there too": {warning: `has no job "nosuch"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"prometheus.yml": "rule_files: [rules/*.yml]\n" + twoJobs}
			for path, content := range test.prepare {
				files[path] = content
			}
			for path, content := range files {
				whole := filepath.Join(dir, path)
				if strings.HasSuffix(path, "/") {
					if err := os.MkdirAll(whole, 0o700); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if err := os.MkdirAll(filepath.Dir(whole), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(whole, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := DefaultPrometheus
			p.SetDirectory(dir)
			sharding := DefaultSharding
			if test.warning != "" {
				sharding.Jobs = []JobSharding{{Job: "nosuch"}}
			}
			warnings, err := CheckSource(Config{
				Node: "m0", ReplicaLabel: "prometheus_replica", Prometheus: p, Sharding: sharding, FeedbackURL: "http://127.0.0.1:9591/api/v1/feedback",
			})
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want one with %q", err, test.err)
			}
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, test.warning) || test.warning == "" && got != "" {
				t.Errorf("warnings %q, want one with %q", got, test.warning)
			}
		})
	}
}
