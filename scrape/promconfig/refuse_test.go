package promconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		source string
		want   []string // each is part of the error; @ stands for the source's path
	}{
		"not YAML": {"global:\n  scrape_interval: 1m: 2m\n", []string{"@:2: mapping values are not allowed"}},
		"unknown field": {
			"global:\n  scrape_intervall: 5s\n",
			[]string{"@:2: global.scrape_intervall: unknown field; did you mean scrape_interval?"},
		},
		"several wrong lines": {"global:\n  a: 1\n  b: 2\n", []string{"@:2: ", "@:3: "}},
		"wrong duration":      {"global:\n  scrape_interval: soon\n", []string{`@:2: global: not a valid duration string: "soon"; write a duration as 15s, 2m or 1h30m`}},
		"a list":              {"- a\n", []string{"@:1: expected fields below it, each as name: value, not a list"}},
		"a tab":               {"scrape_configs:\n\t- job_name: a\n", []string{"@:2: found character that cannot start any token; indent with spaces, YAML takes no tabs"}},
		"a tab at the start":  {"\tglobal: {}\n", []string{"@:1: found character that cannot start any token; indent with spaces"}},
		"a tab after spaces":  {"global:\n  scrape_interval: 1m\n\tevaluation_interval: 1m\n", []string{"@:3: ", "indent with spaces"}},
		"a field of a job":    {"scrape_configs:\n  - job_name: a\n    static_config: []\n", []string{"@:3: scrape_configs[0].static_config: unknown field; did you mean static_configs?"}},
		"a field of two":      {"scrape_configs: [{job_name: a}]\nglobal: {external_labels: {scheme: a}, scheme: b}\n", []string{"@:2: global.scheme: unknown field; "}},
		"a field at the top":  {"scrape_config: []\n", []string{"@:1: scrape_config: unknown field; did you mean scrape_configs?"}},
		"a field of targets":  {"scrape_configs:\n  - static_configs: [{target: [a]}]\n", []string{"@:2: scrape_configs[0].static_configs[0].target: unknown field; Prometheus's documentation has"}},
		"a field twice":       {"scrape_configs:\n  - job_name: a\n    job_name: b\n", []string{"@:3: scrape_configs[0].job_name: given twice; keep one of the two"}},
		"a text for a block":  {"scrape_configs:\n  - job_name: a\n    authorization: xyz\n", []string{"@:3: scrape_configs[0].authorization: expected fields below it, each as name: value, not a text"}},
		"a block for a list":  {"scrape_configs:\n  job_name: a\n", []string{"@:2: scrape_configs: expected a list, such as [a, b], not fields"}},
		"a text for a job":    {"scrape_configs:\n  - nonsense\n", []string{"@:2: scrape_configs[0]: expected fields below it"}},
		"a text for a list":   {"scrape_configs: [{static_configs: [{targets: 'localhost:90'}]}]\n", []string{"@:1: scrape_configs[0].static_configs[0].targets: expected a list, such as [a, b], not a text"}},
		"a text for a number": {"scrape_configs: [{honor_labels: a, sample_limit: a}]\n", []string{"@:1: scrape_configs[0].sample_limit: expected a whole number, not a text", "@:1: scrape_configs[0].honor_labels: expected true or false, not a text"}},
		"a list for a text":   {"remote_write: [{url: http://a, basic_auth: {password: [hunter2]}}]\n", []string{"@:1: remote_write[0].basic_auth.password: expected a text, not a list"}},
		"of two alike":        {"remote_write: [{basic_auth: hunter2, oauth2: hunter2}]\n", []string{"@:1: expected fields below it, each as name: value, not a text"}},
		"replica label": {
			"global:\n  external_labels:\n    prometheus_replica: a\n",
			[]string{"@:3: external_labels sets prometheus_replica", "replica_label in ringside.yml"},
		},
		"empty replica label":  {"global:\n  external_labels:\n    prometheus_replica: ${NONE}\n", []string{"@:3: "}},
		"merged replica label": {"global:\n  external_labels:\n    <<: {prometheus_replica: a}\n", []string{"@:3: "}},
		"own remote_write": {
			"remote_write:\n  - url: http://a\n    name: ringside-feedback\n",
			[]string{"@:3: remote_write is named ringside-feedback"},
		},
		"relay's remote_write": {"remote_write:\n  - url: http://a\n    name: ringside-relay\n", []string{"@:3: "}},
		"rule without target_label": {
			"scrape_configs:\n  - job_name: a\n  - job_name: b\n    relabel_configs: [{source_labels: [x]}]\n",
			[]string{`@:3: job "b": relabel configuration for replace action requires 'target_label' value`},
		},
		"unknown relabel action": {
			"scrape_configs:\n  - job_name: a\n    relabel_configs: [{action: kep}]\n",
			[]string{`@:2: job "a": unknown relabel action "kep"`},
		},
		"two jobs of a name": {
			"scrape_configs:\n  - job_name: a\n  - job_name: a\n",
			[]string{`@:3: a job named "a" is already at @:2; rename one of them`},
		},
		"a null job":           {"scrape_configs:\n  -\n", []string{"@:2: empty or null scrape config section"}},
		"an alias of itself":   {"scrape_configs:\n  - &a\n    job_name: a\n    params: *a\n", []string{`@:4: anchor "a" contains itself`}},
		"a wrong remote_write": {"remote_write:\n  - url: http://a\n  - name: b\n", []string{"@:3: remote_write: url for remote_write is empty"}},
		"a wrong remote_read":  {"remote_read:\n  - name: b\n", []string{"@:2: remote_read: url for remote_read is empty"}},
		"a null alertmanager":  {"alerting:\n  alertmanagers:\n    -\n", []string{"@:3: empty or null section in alertmanagers"}},
		"a wrong alertmanager": {"alerting:\n  alertmanagers:\n    - api_version: v1\n", []string{"@:3: alertmanagers: expected Alertmanager api version"}},
		"a target that is a URL": {
			"scrape_configs:\n  - job_name: a\n    static_configs: [{targets: ['http://a']}]\n",
			[]string{`@:2: job "a": "http://a" is not a valid hostname`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, write(t, tc.source), options(), tc.want...)
		})
	}
}

// refused wants Load to fail, with each of the parts in the error.
func refused(t *testing.T, path string, opt promconfig.Options, parts ...string) {
	t.Helper()
	src, err := promconfig.Load(path, opt)
	if err == nil {
		t.Fatalf("accepted:\n%s", src.Generated)
	}
	for _, part := range parts {
		if part = strings.ReplaceAll(part, "@", path); !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
}

func TestLoadRefusesOptions(t *testing.T) {
	path := write(t, "")
	for name, change := range map[string]func(*promconfig.Options){
		"source is generated file": func(o *promconfig.Options) { o.GeneratedFile = path },
		"relative":                 func(o *promconfig.Options) { o.TargetsDir = "targets" },
		"pattern":                  func(o *promconfig.Options) { o.TargetsDir = "/targets[0]" },
		"no replica":               func(o *promconfig.Options) { o.Replica = "" },
	} {
		t.Run(name, func(t *testing.T) {
			opt := options()
			change(&opt)
			refused(t, path, opt)
		})
	}
	opt := options()
	opt.ReplicaLabel = "prometheus.replica"
	load(t, path, opt)
	refused(t, write(t, "global: {metric_name_validation_scheme: legacy}\n"), opt, "@: replica_label \"prometheus.replica\"")
	refused(t, filepath.Join(t.TempDir(), "none.yml"), opt, "prometheus.config_file: read the source: open ", "no such file", "name the prometheus.yml that people write")
}

func TestLoadRefusesJobFiles(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"unknown field":     {"scrape_configs:\n  - job_name: a\n    foo: 1\n", "%:3: scrape_configs[0].foo: unknown field; known here: job_name, "},
		"a job without one": {"scrape_configs:\n  - job_name: a\n    relabel_configs: [{action: kep}]\n", `%:2: job "a": unknown relabel action`},
		"bad rule":          {"scrape_configs:\n  - job_name: a\n    relabel_configs: [{action: hashmod}]\n", `%:2: job "a": relabel configuration for hashmod`},
		"a job of main's":   {"scrape_configs:\n  - job_name: main\n", `%:2: a job named "main" is already at @:3; rename one of them`},
		"unknown section":   {"global: {}\n", "%:1: global: unknown field; known here: scrape_configs"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "scrape_config_files: [jobs.yaml]\nscrape_configs:\n  - job_name: main\n")
			file := filepath.Join(filepath.Dir(path), "jobs.yaml")
			if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, options(), strings.ReplaceAll(tc.want, "%", file))
		})
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	for name, source := range map[string]string{
		"URL":             "remote_write:\n  - url: http://user:hunter2@host:port/\n",
		"URL of a job":    "scrape_configs:\n  - job_name: a\n    proxy_url: http://user:hunter2@[::1\n",
		"of no anchor":    "scrape_configs:\n  - job_name: a\n    bearer_token: *hunter2\n",
		"of another type": "remote_write:\n  - url: http://a\n    basic_auth: hunter2\n",
		"of a job":        "scrape_configs:\n  - job_name: a\n    authorization: hunter2\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, source)
			_, err := promconfig.Load(path, options())
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), path+":") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLoadBoundsAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("rule_files: [a.yml]\nscrape_configs:\n  - job_name: a\n    params:\n      l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 6 {
		fmt.Fprintf(&b, "      l%d: &l%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i), 10), ", "))
	}
	refused(t, write(t, b.String()), options(), "@:")
}

func TestLoadKeepsACommentOnlySource(t *testing.T) {
	src := load(t, write(t, "# to be written\n\n  # soon\n"), options())
	if !strings.Contains(string(src.Generated), "# to be written\n# soon\n") {
		t.Errorf("got\n%s", src.Generated)
	}
}
