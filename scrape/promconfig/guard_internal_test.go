package promconfig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
)

const guarded = `# About this file.
global:
  scrape_interval: 7s
  external_labels: {cluster: a}
alerting:
  alert_relabel_configs: [{regex: team, action: labeldrop}]
  alertmanagers: [{static_configs: [{targets: [am:9093]}]}]
remote_write:
  - url: http://user:hunter2@central/write
scrape_configs:
  - job_name: a
    static_configs: [{targets: [a:1]}]
    params: {x: [.nan]}
    metric_relabel_configs: [{regex: go_.*, action: labeldrop}]
    native_histogram_min_bucket_factor: .nan
    relabel_configs:
      - {source_labels: [__meta_filepath], target_label: file}
`

func guardedOptions(t *testing.T) (string, Options) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(guarded), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, Options{
		ReplicaLabel: "replica", Replica: "r-0", TargetsDir: "/targets", GeneratedFile: filepath.Join(dir, "run.yml"),
		FeedbackURL: "http://localhost/feedback", RelayURL: "http://localhost/write", RelayMessage: "io.prometheus.write.v2.Request",
	}
}

// TestCompareFindsWhatDiffers changes the generated text in one place each, as a
// fault in the edit would.
func TestCompareFindsWhatDiffers(t *testing.T) {
	path, opt := guardedOptions(t)
	src, err := Load(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(path, false, discard)
	if err != nil {
		t.Fatal(err)
	}
	for old, tc := range map[string]struct{ change, want string }{
		"":                            {"", ""},
		"scrape_interval: 7s":         {"scrape_interval: 8s", ".GlobalConfig.ScrapeInterval"},
		"cluster: a":                  {"cluster: b", "global.external_labels"},
		"replica: r-0":                {"replica: r-1", "global.external_labels"},
		"regex: team":                 {"regex: team2", "alerting.alert_relabel_configs"},
		"regex: replica":              {"regex: other", "alerting.alert_relabel_configs"},
		"am:9093":                     {"am:9094", ".AlertingConfig.AlertmanagerConfigs"},
		"hunter2":                     {"hunter3", "remote_write"},
		"http://localhost/feedback":   {"http://localhost/elsewhere", "remote_write.url"},
		"http://localhost/write":      {"http://localhost/elsewhere", "remote_write.url"},
		"job_name: a":                 {"job_name: b", "scrape_configs[0].JobName"},
		"go_.*":                       {"go_.+", "scrape_configs[0].MetricRelabelConfigs[0]"},
		"target_label: file":          {"target_label: path", "scrape_configs[0].RelabelConfigs[0].TargetLabel"},
		"x: [.nan]":                   {"y: [.nan]", "scrape_configs[0].Params"},
		"min_bucket_factor: .nan":     {"min_bucket_factor: 2", "scrape_configs[0].NativeHistogramMinBucketFactor"},
		"/targets/a-":                 {"/targets/b-", "scrape_configs[0]: discovery is not the target file alone"},
		"  - job_name: a":             {"  - job_name: z\n  - job_name: a", "the number of scrape_configs"},
		"- source_labels: [__name__]": {"- source_labels: [__name__", "Prometheus would refuse the generated file"},
		"scrape_configs:":             {"scrape_config_files: ['[']\nscrape_configs:", "Prometheus would refuse the generated file"},
	} {
		text := strings.Replace(string(src.Generated), old, tc.change, 1)
		if old == "- source_labels: [__name__]" {
			text += "broken: [\n"
		} else if old != "" && text == string(src.Generated) {
			t.Errorf("%q is not in the generated text", old)
		}
		_, err := compare([]byte(text), cfg, src.Jobs, opt)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("unchanged: %v", err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter")):
			t.Errorf("%q: got %v, want %q", old, err, tc.want)
		}
	}
}

// TestRenderWithoutComments has the check refuse whatever has the user's comments.
func TestRenderWithoutComments(t *testing.T) {
	path, opt := guardedOptions(t)
	main, cfg, err := loadMain(path)
	if err != nil {
		t.Fatal(err)
	}
	e := editor{opt: opt, main: main}
	got, err := e.render(func(text []byte) (*config.Config, error) {
		if strings.Contains(string(text), "# About") {
			return nil, errors.New("refused")
		}
		return parse(text)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.warnings) != 1 || !strings.Contains(got.warnings[0], "without the comments") {
		t.Errorf("warnings %q", got.warnings)
	}
	if where := difference(*cfg, *got.cfg); where != "" {
		t.Errorf("the plain text differs in %s", where)
	}
	if _, err := e.render(func([]byte) (*config.Config, error) { return nil, errors.New("refused") }); err == nil {
		t.Error("rendered what is refused in any form")
	}
}
