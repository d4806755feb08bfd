package scrape

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// loadJob makes a source of the text, and gives its only job and the names of
// its external labels.
func loadJob(t testing.TB, text string) (promconfig.Job, map[string]bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := promconfig.Load(path, promconfig.Options{
		ReplicaLabel: "prometheus_replica", Replica: "m0", TargetsDir: filepath.Join(dir, "targets"),
		GeneratedFile: filepath.Join(dir, "run", "prometheus.yml"), FeedbackURL: "http://127.0.0.1:9591/api/v1/feedback",
	})
	if err != nil {
		t.Fatal(err)
	}
	return source.Jobs[0], externalNames(source.ExternalLabels)
}

func groupsOf(targets ...model.LabelSet) []*targetgroup.Group {
	return []*targetgroup.Group{{Source: "0", Targets: targets, Labels: model.LabelSet{"env": "prod"}}}
}

var self = model.LabelSet{nodeLabel: "m0", zoneLabel: "eu-1"}

func TestKeys(t *testing.T) {
	const plain = "scrape_configs:\n  - job_name: j\n"
	const probe = plain + `    metrics_path: /probe
    params: {module: [http_2xx], token: [abc]}
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__meta_sig], target_label: __param_signature}
      - {target_label: __address__, replacement: "blackbox:9115"}
`
	for name, test := range map[string]struct {
		source  string
		shardBy []string
		target  model.LabelSet
		key     string
	}{
		"default": {
			source: plain, target: model.LabelSet{"__address__": "a:1", "app": "x"}, key: "j;http://a:1/metrics",
		},
		"probe: target and module, no signature": {
			source: probe, target: model.LabelSet{"__address__": "a:1", "__meta_sig": "changes"},
			key: "j;http://blackbox:9115/probe;target=a:1;module=http_2xx",
		},
		"__tmp_hash": {
			source:  plain + "    relabel_configs: [{source_labels: [__meta_group], target_label: __tmp_hash}]\n",
			shardBy: []string{"app"}, target: model.LabelSet{"__address__": "a:1", "__meta_group": "g", "app": "x"}, key: "g",
		},
		"shard_by": {
			source: plain, shardBy: []string{"app", "env"}, target: model.LabelSet{"__address__": "a:1", "app": "x"}, key: "x;prod",
		},
		"shard_by without values": {
			source: plain, shardBy: []string{"none"}, target: model.LabelSet{"__address__": "a:1"}, key: "j;http://a:1/metrics",
		},
	} {
		t.Run(name, func(t *testing.T) {
			job, external := loadJob(t, test.source)
			r := newResolver(job, JobSharding{Job: "j", ShardBy: test.shardBy, Replicas: 1}, self, external)
			targets := r.resolve(groupsOf(test.target)).targets
			if len(targets) != 1 {
				t.Fatalf("%d targets", len(targets))
			}
			if key := r.key(targets[0].labels); key != test.key {
				t.Errorf("key %q, want %q", key, test.key)
			}
		})
	}
}

func TestResolveAsPrometheusDoes(t *testing.T) {
	job, external := loadJob(t, `scrape_configs:
  - job_name: j
    relabel_configs:
      - {source_labels: [__meta_drop], regex: "yes", action: drop}
      - {source_labels: [__meta_all], target_label: __tmp_disable_sharding}
      - {source_labels: [__meta_address], regex: (.+), target_label: __address__}
`)
	r := newResolver(job, JobSharding{Job: "j", Replicas: 1}, self, external)
	groups := groupsOf(
		model.LabelSet{"__address__": "b:1"},
		model.LabelSet{"__address__": "a:1", "__meta_all": "true"},
		model.LabelSet{"__address__": "gone:1", "__meta_drop": "yes"},
		model.LabelSet{"__address__": "c:1", "__meta_address": "b:1"}, // the first once more
		model.LabelSet{"__address__": "with/a/path"},
		model.LabelSet{"__meta_nothing": "x"},
	)
	got := r.resolve(groups)
	if got.dropped != 1 || got.invalid != 2 || got.err == nil {
		t.Errorf("dropped %d, invalid %d (%v); want 1, 2 and why", got.dropped, got.invalid, got.err)
	}
	var seen []string
	for _, target := range got.targets {
		seen = append(seen, fmt.Sprintf("%s everywhere=%v", target.address, target.everywhere))
	}
	if want := "a:1 everywhere=true, b:1 everywhere=false"; strings.Join(seen, ", ") != want {
		t.Errorf("targets %v, want %s", seen, want)
	}
	if again := r.resolve(groups); len(again.targets) != 2 {
		t.Errorf("a second time: %v", again.targets)
	}
}

// Pods with several ports, all of which a rule makes into one: which of them
// stays must not depend on the order in which they come.
func TestOrderOfDiscoveryDoesNotMatter(t *testing.T) {
	job, external := loadJob(t, `scrape_configs:
  - job_name: j
    relabel_configs: [{source_labels: [__address__], regex: "([^:]+):.*", target_label: __address__, replacement: "$1:80"}]
`)
	groups := make([]*targetgroup.Group, 20)
	for i := range groups {
		g := &targetgroup.Group{Source: fmt.Sprint("pod/", i)}
		for port := range 3 {
			g.Targets = append(g.Targets, model.LabelSet{"__address__": model.LabelValue(fmt.Sprintf("10.0.0.%d:%d", i, 8000+port))})
		}
		groups[i] = g
	}
	var first string
	for range 20 {
		rand.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
		var entries []entry
		for _, target := range newResolver(job, JobSharding{Replicas: 1}, nil, external).resolve(groups).targets {
			en, err := entryOf(target, readersOf(job), nil)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, en)
		}
		text := string(render(entries))
		if first == "" {
			first = text
		}
		if text != first {
			t.Fatalf("other bytes for the same targets:\n%s\n%s", first, text)
		}
	}
}

func TestSamplesFindTheirTarget(t *testing.T) {
	job, external := loadJob(t, `global: {external_labels: {region: "${NOT_OURS}", dc: one}}
scrape_configs: [{job_name: j}]
`)
	r := newResolver(job, JobSharding{Job: "j", Replicas: 1}, self, external)
	target := r.resolve(groupsOf(model.LabelSet{"__address__": "a:1", "dc": "two"})).targets[0]
	up := labels.FromStrings("__name__", "up", "job", "j", "instance", "a:1", "env", "prod",
		"dc", "two", "region", "whatever Prometheus makes of it", "prometheus_replica", "m0")
	if publicHash(up, external) != target.public {
		t.Error("the target's own sample does not find it")
	}
	other := labels.FromStrings("__name__", "up", "job", "j", "instance", "a:2", "env", "prod", "dc", "two")
	if publicHash(other, external) == target.public {
		t.Error("another target's sample finds it")
	}
}

// kubernetesPod is a discovered target with the labels that Kubernetes
// discovery gives one in a cluster with the usual annotations.
func kubernetesPod(i int) model.LabelSet {
	ls := model.LabelSet{
		"__address__":                        model.LabelValue(fmt.Sprintf("10.1.%d.%d:8080", i/250, i%250)),
		"__meta_kubernetes_namespace":        "shop",
		"__meta_kubernetes_pod_name":         model.LabelValue(fmt.Sprintf("cart-%d", i)),
		"__meta_kubernetes_pod_uid":          model.LabelValue(fmt.Sprintf("0c9a3a5e-7a4f-4f8e-9a3b-%012d", i)),
		"__meta_kubernetes_pod_label_app":    "cart",
		"__meta_kubernetes_pod_container_id": model.LabelValue("containerd://" + strings.Repeat("a", 64)),
	}
	for k := range 20 {
		ls[model.LabelName(fmt.Sprintf("__meta_kubernetes_pod_annotation_vendor_example_com_setting_%d", k))] = model.LabelValue(strings.Repeat("v", 60))
		ls[model.LabelName(fmt.Sprintf("__meta_kubernetes_pod_annotationpresent_vendor_example_com_setting_%d", k))] = "true"
	}
	return ls
}

const kubernetesJob = `scrape_configs:
  - job_name: kubernetes-pods
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
      - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
`

func TestFileHoldsOnlyLabelsThatCanMatter(t *testing.T) {
	job, external := loadJob(t, kubernetesJob)
	r := newResolver(job, JobSharding{Job: "kubernetes-pods", Replicas: 1}, self, external)
	g := &targetgroup.Group{Source: "pod"}
	raw := 0
	for i := range 1000 {
		pod := kubernetesPod(i)
		g.Targets = append(g.Targets, pod)
		raw += len(pod.String())
	}
	var entries []entry
	for _, target := range r.resolve([]*targetgroup.Group{g}).targets {
		en, err := entryOf(target, readersOf(job), self)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, en)
	}
	file := render(entries)
	t.Logf("1000 targets: %d bytes of discovered labels, %d in the file", raw, len(file))
	if strings.Contains(string(file), "annotation") || strings.Contains(string(file), "_uid") {
		t.Error("the file holds labels that no rule reads")
	}
	for _, name := range []string{"__meta_kubernetes_namespace", "__meta_kubernetes_pod_name", "__meta_kubernetes_pod_label_app"} {
		if strings.Count(string(file), `"`+name+`"`) != 1000 {
			t.Errorf("the file misses %s, which a rule reads", name)
		}
	}
}

func TestRender(t *testing.T) {
	job, external := loadJob(t, `scrape_configs:
  - job_name: j
    file_sd_configs: [{files: [a.json]}]
    relabel_configs:
      - {source_labels: [__meta_filepath], target_label: file}
      - {source_labels: [__meta_ringside_node], target_label: node}
`)
	r := newResolver(job, JobSharding{Job: "j", Everywhere: true, Replicas: 1}, self, external)
	targets := r.resolve([]*targetgroup.Group{
		{Source: "1", Labels: model.LabelSet{"__meta_filepath": "a.json", "team": `<b>"x"`}, Targets: []model.LabelSet{
			{"__address__": "b:1"}, {"__address__": "a:1"}, {"__address__": "a:1", "team": "own", "__scheme__": "https"},
		}},
		{Source: "2", Targets: []model.LabelSet{{"__address__": "c:1", "__meta_not_read": "x"}}},
	}).targets
	var entries []entry
	for _, target := range targets {
		en, err := entryOf(target, readersOf(job), self)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, en)
	}
	got := render(entries)
	golden := filepath.Join("testdata", "targets.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	left, _, err := readAddresses(golden)
	if err != nil || len(left) != 3 || !left["a:1"] || !left["b:1"] || !left["c:1"] {
		t.Errorf("read again: %v, %v", left, err)
	}
}

func readersOf(job promconfig.Job) []reader {
	return []reader{{reads: job.ReadsLabel, self: job.ReadsSelf, restore: job.RestoreFilepath}}
}

func TestWriteFileKeepsTheOldOneWhenItCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets", "j.json")
	f := targetFile{path: path}
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.put([]byte("[]\n")); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Fatalf("a file in the way of the directory: error %v, want one with the path", err)
	}
	if err := os.Remove(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if wrote, err := f.put([]byte("[]\n")); wrote != want || err != nil {
			t.Errorf("put %d: wrote=%v err=%v, want %v: equal bytes are not written twice", i, wrote, err, want)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%v %v: a temporary file was left", left, err)
	}
}

func BenchmarkResolve(b *testing.B) {
	job, external := loadJob(b, kubernetesJob)
	g := &targetgroup.Group{Source: "pod"}
	for i := range 1000 {
		g.Targets = append(g.Targets, kubernetesPod(i))
	}
	for b.Loop() {
		newResolver(job, JobSharding{Job: "kubernetes-pods", Replicas: 1}, self, external).resolve([]*targetgroup.Group{g})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/target")
}

func BenchmarkResolveUnchanged(b *testing.B) {
	job, external := loadJob(b, "scrape_configs: [{job_name: j}]\n")
	groups := make([]*targetgroup.Group, 100_000)
	for i := range groups {
		address := model.LabelValue(fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255))
		groups[i] = &targetgroup.Group{Source: fmt.Sprint("pod/", i), Targets: []model.LabelSet{{"__address__": address}}}
	}
	r := newResolver(job, JobSharding{Job: "j", Replicas: 1}, self, external)
	r.resolve(groups)
	for b.Loop() {
		r.resolve(groups)
	}
}
