package kubernetes

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"
	corev1 "k8s.io/api/core/v1"
)

// prometheusFile is what the tests read of prometheus.yml. Discoveries that only
// other builds know are no matter here.
type prometheusFile struct {
	Global struct {
		ScrapeInterval model.Duration    `yaml:"scrape_interval"`
		ExternalLabels map[string]string `yaml:"external_labels"`
	} `yaml:"global"`
	RuleFiles     []string    `yaml:"rule_files"`
	ScrapeConfigs []scrapeJob `yaml:"scrape_configs"`
}

type scrapeJob struct {
	Name                string         `yaml:"job_name"`
	ScrapeInterval      model.Duration `yaml:"scrape_interval"`
	KubernetesSDConfigs []struct {
		Role string `yaml:"role"`
	} `yaml:"kubernetes_sd_configs"`
	RelabelConfigs []*relabel.Config `yaml:"relabel_configs"`
}

func (f *fleet) prometheusFile(t *testing.T) prometheusFile {
	t.Helper()
	var p prometheusFile
	if err := yaml.Unmarshal([]byte(f.files["prometheus.yml"]), &p); err != nil {
		t.Fatal(err)
	}
	for _, job := range p.ScrapeConfigs {
		for _, rule := range job.RelabelConfigs {
			if err := rule.Validate(model.UTF8Validation); err != nil {
				t.Fatalf("job %s: %v", job.Name, err)
			}
		}
	}
	return p
}

// checkJobs: which of the fleet's own pods are scraped, and by which labels the
// mixin and the autoscaler find them.
func checkJobs(t *testing.T, f *fleet) {
	if want := (jobSharding{"ringside", true}); !slices.Contains(f.ringsideFile(t).Scrape.Jobs, want) {
		t.Errorf("scrape.jobs %+v, want %+v: the mixin's alerts need every sidecar in one place", f.ringsideFile(t).Scrape.Jobs, want)
	}
	c := f.prometheusFile(t)
	i := slices.IndexFunc(c.ScrapeConfigs, func(job scrapeJob) bool { return job.Name == "ringside" })
	if i < 0 {
		t.Fatal("no job ringside: it is what the mixin's alerts and the autoscaler read")
	}
	for phase, want := range map[corev1.PodPhase]bool{corev1.PodPending: true, corev1.PodRunning: true, corev1.PodSucceeded: false, corev1.PodFailed: false} {
		if got := relabel.ProcessBuilder(discovered("ringside", phase), c.ScrapeConfigs[i].RelabelConfigs...); got != want {
			t.Errorf("a member is scraped while its pod is %s: %v, want %v", phase, got, want)
		}
	}
	member := discovered("ringside", corev1.PodRunning)
	relabel.ProcessBuilder(member, c.ScrapeConfigs[i].RelabelConfigs...)
	// A rule's cluster is the target's. One that differs from the external label would
	// part new samples from those in blocks, which have the external one.
	cluster := cmp.Or(c.Global.ExternalLabels["cluster"], member.Get("cluster"))
	for name, want := range map[string]string{"cluster": cluster, "namespace": "monitoring", "pod": "ringside-0"} {
		if got := member.Get(name); got != want {
			t.Errorf("job ringside: label %s is %q, want %q", name, got, want)
		}
	}
}

// discovered is what Kubernetes' discovery says of a member's pod.
func discovered(port string, phase corev1.PodPhase) *labels.Builder {
	return labels.NewBuilder(labels.FromMap(map[string]string{
		"__address__": "10.0.0.7:1",
		"__meta_kubernetes_pod_label_app_kubernetes_io_name":    "ringside",
		"__meta_kubernetes_pod_container_port_name":             port,
		"__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
		"__meta_kubernetes_pod_phase":                           string(phase),
		"__meta_kubernetes_namespace":                           "monitoring",
		"__meta_kubernetes_pod_name":                            "ringside-0",
	}))
}

// TestEndedPods: an evicted pod stays in the API, and in the discovery.
func TestEndedPods(t *testing.T) {
	for _, job := range load(t, "minimal").prometheusFile(t).ScrapeConfigs {
		for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
			ofPods := len(job.KubernetesSDConfigs) > 0 && job.KubernetesSDConfigs[0].Role == "pod"
			if ofPods && relabel.ProcessBuilder(discovered(job.Name, phase), job.RelabelConfigs...) {
				t.Errorf("job %s scrapes a pod that is %s", job.Name, phase)
			}
		}
	}
}

// TestRules: the mixin's rules come from a ConfigMap that need not be there, by
// the command that the document gives.
func TestRules(t *testing.T) {
	f := load(t, "minimal")
	i := slices.IndexFunc(f.pod.Volumes, func(v corev1.Volume) bool { return v.Name == "rules" })
	rules := f.pod.Volumes[i].ConfigMap
	if rules.Optional == nil || !*rules.Optional {
		t.Errorf("pods wait for the ConfigMap %s", rules.Name)
	}
	want := path.Join(mount(f.prometheus(), "/etc/ringside-rules").MountPath, "*.yml")
	if got := f.prometheusFile(t).RuleFiles; !slices.Contains(got, want) {
		t.Errorf("rule_files %q, without %q", got, want)
	}
	command := regexp.MustCompile(`create configmap (\S+)((?: --from-file=\S+)+)`).FindStringSubmatch(string(read(t, "../../docs/kubernetes.md")))
	if command == nil || command[1] != rules.Name {
		t.Fatalf("docs/kubernetes.md makes %q, the pods mount %s", command, rules.Name)
	}
	for _, file := range strings.Split(strings.TrimSpace(command[2]), " ") {
		name := strings.TrimPrefix(file, "--from-file=")
		if _, err := os.Stat(filepath.Join("../..", name)); err != nil || path.Ext(name) != path.Ext(want) {
			t.Errorf("docs/kubernetes.md has %s read: %v", name, err)
		}
	}
}

// TestAutoscaler: the metric has a value, and is asked for by the name that it has
// and of this fleet alone.
func TestAutoscaler(t *testing.T) {
	f := load(t, "thanos")
	name := f.scaler.Spec.Metrics[0].Pods.Metric.Name
	one := `cluster="` + f.prometheusFile(t).Global.ExternalLabels["cluster"] + `"`
	var adapter struct {
		Rules struct {
			Custom []struct {
				SeriesQuery  string `json:"seriesQuery"`
				MetricsQuery string `json:"metricsQuery"`
			} `json:"custom"`
		} `json:"rules"`
	}
	decode(t, read(t, "components/autoscaling/prometheus-adapter.yml"), &adapter)
	if rules := adapter.Rules.Custom; len(rules) != 1 || !strings.HasPrefix(rules[0].SeriesQuery, name+"{"+one+",") || !strings.Contains(rules[0].MetricsQuery, "{"+one+",") {
		t.Errorf("components/autoscaling/prometheus-adapter.yml offers %+v; wanted is %s{%s}, with cluster as in prometheus.yml", rules, name, one)
	}
	keda := block(t, "kubernetes.md", "kind: ScaledObject")
	decode(t, []byte(keda), &map[string]any{})
	if want := "max(" + name + `{cluster="prod",namespace="monitoring"})`; !strings.Contains(keda, want) {
		t.Errorf("docs/kubernetes.md has KEDA ask something else than %s:\n%s", want, keda)
	}
	if f.ringsideFile(t).Scrape.CapacitySeries == 0 {
		t.Error("without capacity_series there is no ratio")
	}
	down := f.scaler.Spec.Behavior.ScaleDown.Policies
	if len(down) != 1 || down[0].Value != 1 || int64(down[0].PeriodSeconds) < *f.pod.TerminationGracePeriodSeconds {
		t.Errorf("members leave by %+v; one may take %d s", down, *f.pod.TerminationGracePeriodSeconds)
	}
}

// block is the YAML in a document that has a text in it.
func block(t *testing.T, document, text string) string {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(read(t, "../../docs/"+document)), -1) {
		if strings.Contains(m[1], text) {
			return m[1]
		}
	}
	t.Fatalf("docs/%s has no YAML with %q", document, text)
	return ""
}
