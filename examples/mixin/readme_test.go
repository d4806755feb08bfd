package mixin

import (
	"log/slog"
	"os"
	"regexp"
	"testing"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// block is the YAML of that file in README.md.
func block(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n# " + regexp.QuoteMeta(file) + "\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatalf("README.md shows no %s", file)
	}
	return string(found[1])
}

// The job that README.md shows is one that Prometheus takes, has the labels that
// alerts, long-term storage and autoscaling go by, and is every member's.
func TestScrapeJob(t *testing.T) {
	cfg, err := promconfig.Load(block(t, "prometheus.yml"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	job := cfg.ScrapeConfigs[0]
	pod := func(port, phase string) labels.Labels {
		b := labels.NewBuilder(labels.FromStrings(
			"__meta_kubernetes_pod_container_port_name", port, "__meta_kubernetes_pod_phase", phase,
			"__meta_kubernetes_namespace", "monitoring", "__meta_kubernetes_pod_name", "prometheus-0"))
		if !relabel.ProcessBuilder(b, job.RelabelConfigs...) {
			return labels.EmptyLabels()
		}
		return b.Labels()
	}
	got := pod("ringside", "Running")
	cluster := cfg.GlobalConfig.ExternalLabels.Get("cluster")
	for name, want := range map[string]string{"cluster": cluster, "namespace": "monitoring", "pod": "prometheus-0"} {
		if want == "" || got.Get(name) != want {
			t.Errorf("%s=%q, want %q", name, got.Get(name), want)
		}
	}
	if !pod("web", "Running").IsEmpty() || !pod("ringside", "Failed").IsEmpty() {
		t.Error("what is no sidecar is scraped")
	}

	var own struct {
		Scrape struct {
			Jobs []struct {
				Job        string
				Everywhere bool
			}
		}
	}
	if err := yaml.Unmarshal([]byte(block(t, "ringside.yml")), &own); err != nil {
		t.Fatal(err)
	}
	if jobs := own.Scrape.Jobs; len(jobs) != 1 || jobs[0].Job != job.JobName || !jobs[0].Everywhere {
		t.Errorf("sharding %+v of job %q", jobs, job.JobName)
	}
}
