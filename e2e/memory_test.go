package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Targets with as many labels as Kubernetes discovery gives them: what a sidecar
// keeps of them, in memory and in its file, is what the rules read.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	const every, maxResident, maxBinary = 10 * time.Second, 64 << 20, 75 << 20
	source := fileSource(every) + "    relabel_configs: [{source_labels: [__meta_kubernetes_pod_name], target_label: pod}]\n"
	r := newRig(t, setup{pairs: 3, targets: 1000, replicas: 1, source: source})
	discovered := kubernetesSD(t, r.targets)
	for _, p := range r.Pairs {
		if err := p.WriteFile("sd/farm.json", discovered); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Start(t.Context(), r.Pairs...); err != nil {
		t.Fatal(err)
	}
	r.settle(time.Minute, r.Pairs...)
	r.watch(30 * time.Second) // for what the start took to be given back
	var largest float64
	written := 0
	for _, p := range r.Pairs {
		resident, err := p.Metric(t.Context(), "process_resident_memory_bytes")
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, resident)
		files, err := filepath.Glob(filepath.Join(p.Dir, "run", "targets", "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "annotation") {
			t.Errorf("%s holds labels that no rule reads", files[0])
		}
		written += len(content)
	}
	binary, err := os.Stat(os.Getenv("RINGSIDE"))
	if err != nil {
		t.Fatal(err)
	}
	if largest > maxResident || binary.Size() > maxBinary {
		t.Errorf("over the bounds of %d and %d MiB", maxResident>>20, maxBinary>>20)
	}
	r.measured("3 members, 1000 targets with 46 labels: largest resident memory %.1f MiB; binary %.1f MiB; discovered %d kB, in the files %d kB",
		largest/(1<<20), float64(binary.Size())/(1<<20), len(discovered)/1000, written/1000)
}

// kubernetesSD is fileSD with the labels of pods that carry many annotations.
func kubernetesSD(t *testing.T, targets []string) string {
	t.Helper()
	groups := make([]map[string]any, len(targets))
	for i, target := range targets {
		labels := map[string]string{
			"__meta_kubernetes_namespace":        "shop",
			"__meta_kubernetes_pod_name":         fmt.Sprintf("cart-%d", i),
			"__meta_kubernetes_pod_uid":          fmt.Sprintf("0c9a3a5e-7a4f-4f8e-9a3b-%012d", i),
			"__meta_kubernetes_pod_label_app":    "cart",
			"__meta_kubernetes_pod_container_id": "containerd://" + strings.Repeat("a", 64),
		}
		for k := range 20 {
			labels[fmt.Sprintf("__meta_kubernetes_pod_annotation_vendor_example_com_setting_%d", k)] = strings.Repeat("v", 60)
			labels[fmt.Sprintf("__meta_kubernetes_pod_annotationpresent_vendor_example_com_setting_%d", k)] = "true"
		}
		groups[i] = map[string]any{"targets": []string{target}, "labels": labels}
	}
	out, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
