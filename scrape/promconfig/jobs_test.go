package promconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// oneJob loads a source with one job of these relabel rules, in flow style.
func oneJob(t *testing.T, rules string) promconfig.Job {
	t.Helper()
	return load(t, write(t, "scrape_configs:\n  - job_name: a\n    relabel_configs: "+rules+"\n"), options()).Jobs[0]
}

func TestReadsLabel(t *testing.T) {
	for name, tc := range map[string]struct {
		rules      string
		read       []string
		notRead    []string
		self, file bool
	}{
		"no rules": {
			rules:   "[]",
			read:    []string{"__address__", "__scheme__", "__param_target", "__tmp_hash", "team", "__metrics_path__"},
			notRead: []string{"__meta_x", "__meta_filepath", "__meta_ringside_node"},
		},
		"source labels": {
			rules:   "[{source_labels: [__meta_a, __meta_b], target_label: c}, {source_labels: [__meta_d], modulus: 2, target_label: e, action: hashmod}]",
			read:    []string{"__meta_a", "__meta_b", "__meta_d"},
			notRead: []string{"__meta_c", "__meta_"},
		},
		"written only": {
			rules:   "[{source_labels: [x], target_label: __meta_a}]",
			notRead: []string{"__meta_a"},
		},
		"compared": {
			rules:   "[{source_labels: [x], target_label: __meta_a, action: keepequal}, {source_labels: [x], target_label: __meta_b, action: dropequal}]",
			read:    []string{"__meta_a", "__meta_b"},
			notRead: []string{"__meta_c"},
		},
		"labelmap": {
			rules:   "[{action: labelmap, regex: __meta_pod_(.+)}]",
			read:    []string{"__meta_pod_app"},
			notRead: []string{"__meta_pod_", "__meta_node_app", "__meta_ringside_node"},
		},
		"labelmap of all": {
			rules:   "[{action: labelmap, regex: __meta_(.+)}]",
			read:    []string{"__meta_a", "__meta_filepath"},
			notRead: []string{"__meta_ringside_node", "__meta_ringside_zone"},
			file:    true,
		},
		"labelmap of this member": {
			rules: "[{action: labelmap, regex: __meta_ringside_(.+)}]",
			read:  []string{"__meta_ringside_node", "__meta_ringside_zone"},
			self:  true,
		},
		"this member": {
			rules:   "[{source_labels: [__meta_ringside_zone], target_label: zone}]",
			read:    []string{"__meta_ringside_zone"},
			notRead: []string{"__meta_ringside_node"},
			self:    true,
		},
		"file path": {
			rules: "[{source_labels: [__meta_filepath], target_label: file}]",
			read:  []string{"__meta_filepath"},
			file:  true,
		},
		"dropped and kept": {
			rules:   "[{action: labeldrop, regex: __meta_a}, {action: labelkeep, regex: __meta_.*|__.*}]",
			notRead: []string{"__meta_a", "__meta_b", "__meta_filepath"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := oneJob(t, tc.rules)
			for _, label := range tc.read {
				if !job.ReadsLabel(label) {
					t.Errorf("%s is not read", label)
				}
			}
			for _, label := range tc.notRead {
				if job.ReadsLabel(label) {
					t.Errorf("%s is read", label)
				}
			}
			if job.ReadsSelf != tc.self || job.RestoreFilepath != tc.file {
				t.Errorf("ReadsSelf %v, RestoreFilepath %v", job.ReadsSelf, job.RestoreFilepath)
			}
		})
	}
}

// TestFilepathIsRestored runs the generated job's rules on what Prometheus finds
// in a target file, and the user's own on what was discovered.
func TestFilepathIsRestored(t *testing.T) {
	src := load(t, "testdata/sources/filepath/prometheus.yml", options())
	cfg, err := config.Load(string(src.Generated), promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	for _, discovered := range []labels.Labels{
		labels.FromStrings("__address__", "a:1", "__meta_filepath", "/etc/targets/team.json"),
		labels.FromStrings("__address__", "a:1"),
	} {
		for i, job := range src.Jobs {
			found := labels.NewBuilder(discovered).Set("__meta_filepath", job.TargetFile)
			if original := discovered.Get("__meta_filepath"); original != "" && job.RestoreFilepath {
				found.Set("__meta_ringside_filepath", original)
			}
			if got, want := public(found.Labels(), cfg.ScrapeConfigs[i].RelabelConfigs), public(discovered, job.Config.RelabelConfigs); !labels.Equal(got, want) {
				t.Errorf("%s: got %s, want %s", job.Config.JobName, got, want)
			}
		}
	}
}

// public relabels and drops what Prometheus drops afterwards.
func public(found labels.Labels, rules []*relabel.Config) labels.Labels {
	b := labels.NewBuilder(found)
	relabel.ProcessBuilder(b, rules...)
	b.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, "__") {
			b.Del(l.Name)
		}
	})
	return b.Labels()
}

func TestWarnings(t *testing.T) {
	const source = `scrape_configs:
  - job_name: v4
    static_configs:
      - targets: [host:9100, 127.0.0.5:9100]
  - job_name: v6
    static_configs:
      - targets: ["[::1]:9100"]
  - job_name: name
    static_configs:
      - targets:
          - LOCALHOST
  - job_name: proxied
    static_configs: [{targets: [localhost]}]
    relabel_configs: [{target_label: __address__, replacement: proxy:1}]
  - job_name: self
    static_configs: [{targets: [host:9100]}]
    relabel_configs:
      - {source_labels: [x], target_label: y}
      - {source_labels: [__meta_ringside_node], target_label: instance}
  - job_name: hashed
    static_configs: [{targets: [host:9100]}]
    relabel_configs:
      - {source_labels: [__address__], modulus: 3, target_label: __tmp_hash, action: hashmod}
      - {source_labels: [__tmp_hash], regex: "1", action: keep}
  - job_name: key
    static_configs: [{targets: [host:9100]}]
    relabel_configs:
      - {source_labels: [__address__], modulus: 3, target_label: __tmp_hash, action: hashmod}
      - {source_labels: [x], regex: y, action: drop}
  - job_name: fine
    static_configs: [{targets: [host:9100, 128.0.0.1:9100, localhost.example:80]}]
`
	path := write(t, source)
	want := []string{
		`:4: job "v4" is sharded, but 127.0.0.5:9100 is a different server`,
		`:7: job "v6" is sharded, but [::1]:9100 is a different server`,
		`:11: job "name" is sharded, but LOCALHOST is a different server`,
		`:19: job "self" is sharded, but this rule reads __meta_ringside_node`,
		`:24: job "hashed" is sharded, and this rule selects targets by hashmod, too`,
	}
	got := load(t, path, options()).Warnings
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if advice := []string{"everywhere: true", "drop this rule and the hashmod"}[i/4]; !strings.HasPrefix(got[i], path+want[i]) || !strings.Contains(got[i], advice) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	if !strings.Contains(got[0], "{source_labels: [__meta_ringside_node], target_label: instance}") {
		t.Errorf("%q does not say how to tell the servers apart", got[0])
	}
	opt := options()
	opt.Sharded = func(job string) bool { return job == "fine" }
	if got := load(t, path, opt).Warnings; len(got) != 0 {
		t.Errorf("warnings of jobs that are everywhere: %q", got)
	}
}

func TestTargetFileName(t *testing.T) {
	safe := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{8}\.json$`)
	for job, slug := range map[string]string{
		"node":                        "node",
		"kubernetes/pods":             "kubernetes-pods",
		"../../etc/passwd":            "etc-passwd",
		"..":                          "job",
		".hidden":                     "hidden",
		"a..b":                        "a.b",
		"a.../..b":                    "a.-.b",
		"":                            "job",
		" ":                           "job",
		"\x00\n":                      "job",
		"zähler":                      "z-hler",
		"ひ":                           "job",
		strings.Repeat("a/", 150):     strings.Repeat("a-", 50),
		"C:\\x*?":                     "C--x--",
		"serviceMonitor/ns/name/0":    "serviceMonitor-ns-name-0",
		"\xff":                        "job",
		strings.Repeat("..", 100):     "job",
		"- x":                         "x",
		strings.Repeat("b", 99) + ".": strings.Repeat("b", 99) + ".",
	} {
		name := promconfig.TargetFileName(job)
		if !safe.MatchString(name) || strings.Contains(name, "..") || len(name) > 120 || !strings.HasPrefix(name, slug+"-") {
			t.Errorf("%q: %s, want %s-…", job, name, slug)
		}
	}
	if promconfig.TargetFileName("a/b") == promconfig.TargetFileName("a-b") {
		t.Error("two jobs of one slug have one file")
	}
}

func TestTargetFileNamesCollide(t *testing.T) {
	jobs := map[string]string{}
	for i := range 400_000 {
		job := fmt.Sprintf("%c%c", 0x4e00+i%1000, 0x4e00+i/1000)
		name := promconfig.TargetFileName(job)
		if other, taken := jobs[name]; taken {
			refused(t, write(t, fmt.Sprintf("scrape_configs: [{job_name: %s}, {job_name: %s}]\n", other, job)), options(),
				fmt.Sprintf("jobs %q and %q would have one target file, %s; rename one of them", other, job, name))
			return
		}
		jobs[name] = job
	}
	t.Fatal("no two of 400,000 names collide in 32 bits")
}

func TestHash(t *testing.T) {
	const base = "global: {external_labels: {a: '${HOME}', b: x}}\nscrape_config_files: [jobs.yaml]\nrule_files: [r.yml]\n"
	const jobs = "scrape_configs: [{job_name: a, tls_config: {ca_file: ca.pem}}]\n"
	hash := func(source, jobs string) uint64 {
		path := write(t, source)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "jobs.yaml"), []byte(jobs), 0o600); err != nil {
			t.Fatal(err)
		}
		return load(t, path, options()).Hash
	}
	first := hash(base, jobs)
	t.Setenv("HOME", "/elsewhere")
	if hash(base, jobs) != first {
		t.Error("depends on the directory or the environment")
	}
	if hash("# comment\nrule_files:\n  - r.yml\nscrape_config_files: ['jobs.yaml']\nglobal: {external_labels: {b: x, a: '${HOME}'}}\n", jobs) != first {
		t.Error("depends on how the source is written")
	}
	for name, changed := range map[string]uint64{
		"global":       hash(strings.Replace(base, "global: {", "global: {scrape_interval: 7s, ", 1), jobs),
		"label":        hash(strings.Replace(base, "b: x", "b: y", 1), jobs),
		"rules":        hash(strings.Replace(base, "r.yml", "s.yml", 1), jobs),
		"job":          hash(base, strings.Replace(jobs, "ca.pem", "cb.pem", 1)),
		"one job less": hash(base, ""),
	} {
		if changed == first {
			t.Errorf("%s: does not change it", name)
		}
	}
}

func TestFilesAndDirs(t *testing.T) {
	path := write(t, "scrape_config_files: [jobs/*.yml, none/deeper/*.yml]\nrule_files: [rules/*.yml, rules/a.yml, alerts.yml, 'team-?/r.yml']\n")
	dir := filepath.Dir(path)
	for _, name := range []string{"jobs/a.yml", "jobs/b.yml", "rules/a.yml", "rules/b.yml", "team-1/r.yml"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := load(t, path, options())
	under := func(names ...string) []string {
		for i, name := range names {
			names[i] = filepath.Join(dir, name)
		}
		return names
	}
	for what, lists := range map[string][2][]string{
		"RuleFiles": {src.RuleFiles, under("rules/a.yml", "rules/b.yml", "team-1/r.yml")},
		"Files":     {src.Files, under("prometheus.yml", "jobs/a.yml", "jobs/b.yml", "rules/a.yml", "rules/b.yml", "team-1/r.yml")},
		"Dirs":      {src.Dirs, under("", "jobs", "rules", "team-1")},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s: %q, want %q", what, lists[0], lists[1])
		}
	}
}

// TestRelativeSource loads by a relative path: what is generated is absolute.
func TestRelativeSource(t *testing.T) {
	t.Chdir("testdata/sources/rules")
	src := load(t, "prometheus.yml", options())
	for _, name := range slices.Concat(src.Files, src.Dirs) {
		if !filepath.IsAbs(name) {
			t.Errorf("%s is not absolute", name)
		}
	}
	if len(src.RuleFiles) != 3 {
		t.Errorf("rule files %q", src.RuleFiles)
	}
}

func TestExternalLabels(t *testing.T) {
	opt := options()
	opt.Replica = "$HOME-0"
	src := load(t, write(t, "global: {external_labels: {cluster: x}}\n"), opt)
	if want := labels.FromStrings("cluster", "x", "prometheus_replica", "$HOME-0"); !labels.Equal(src.ExternalLabels, want) {
		t.Errorf("got %s", src.ExternalLabels)
	}
}
