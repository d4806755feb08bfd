// Package kubernetes tests the manifests beside it: that they build offline, that
// Kubernetes' own schemas and the programs they configure accept them, that what one
// file says of another is so, and that a pod of them lives and ends as they promise.
package kubernetes

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// overlays are what a user applies; the last has every component in it.
var overlays = []string{"minimal", "thanos", "deployment", "operator", "everything"}

// tool is the program that an environment variable names.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s names no program; make manifests builds it and runs this test", variable)
	}
	return path
}

// run runs a program and returns its standard output; it fails the test if the program fails.
func run(t *testing.T, env []string, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out.Bytes(), stderr.Bytes())
	}
	return out.Bytes()
}

// tree is a copy of the manifests with the secrets that a user makes, but those
// files that are there already. It is the directory of the overlay.
func tree(t *testing.T, overlay string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"base", "components", "overlays"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	const last = "- ../../components/ephemeral-volume\n"
	all := strings.Replace(string(read(t, "overlays/thanos/kustomization.yaml")), last, last+"  - ../../components/config-secret\n  - ../../components/deployment\n", 1)
	all += "  - {name: ringside-prometheus, files: [prometheus.yml], options: {disableNameSuffixHash: true}}\n"
	write(t, filepath.Join(root, "overlays/everything/kustomization.yaml"), []byte(all))
	dir := filepath.Join(root, "overlays", overlay)
	for name, text := range map[string][]byte{
		"bucket.yml":     read(t, "overlays/thanos/bucket.example.yml"),
		"gossip.key":     run(t, nil, tool(t, "RINGSIDE"), "keygen"),
		"prometheus.yml": read(t, "base/prometheus.yml"),
	} {
		if own := filepath.Join(dir, name); !exists(own) {
			write(t, own, text)
		}
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// build is what kustomize makes of an overlay.
func build(t *testing.T, overlay string) []byte {
	t.Helper()
	return run(t, nil, tool(t, "KUSTOMIZE"), "build", tree(t, overlay))
}

// separator stands between the objects that kustomize builds.
var separator = []byte("\n---\n")

// fleet is an overlay, built and read.
type fleet struct {
	kind     string // of the workload
	spec     appsv1.StatefulSetSpec
	pod      corev1.PodSpec
	services map[string]corev1.Service
	maps     map[string]corev1.ConfigMap
	secrets  map[string]corev1.Secret
	files    map[string]string // of the volume config
	role     rbacv1.ClusterRole
	binding  rbacv1.ClusterRoleBinding
	budget   policyv1.PodDisruptionBudget
	policy   networkingv1.NetworkPolicy
	scaler   *autoscalingv2.HorizontalPodAutoscaler // nil: none
}

func load(t *testing.T, overlay string) *fleet {
	t.Helper()
	return parse(t, build(t, overlay))
}

// parse reads what kustomize has built.
func parse(t *testing.T, built []byte) *fleet {
	t.Helper()
	f := &fleet{services: map[string]corev1.Service{}, maps: map[string]corev1.ConfigMap{}, secrets: map[string]corev1.Secret{}}
	for text := range bytes.SplitSeq(built, separator) {
		switch kind := kind(t, text); kind {
		case "StatefulSet":
			f.kind = kind
			var w appsv1.StatefulSet
			decodeStrict(t, text, &w)
			f.spec = w.Spec
		case "Deployment":
			f.kind = kind
			var w appsv1.Deployment
			decodeStrict(t, text, &w)
			f.spec = appsv1.StatefulSetSpec{Selector: w.Spec.Selector, Template: w.Spec.Template}
		case "Service":
			var s corev1.Service
			decodeStrict(t, text, &s)
			f.services[s.Name] = s
		case "ConfigMap":
			var c corev1.ConfigMap
			decodeStrict(t, text, &c)
			f.maps[c.Name] = c
		case "Secret":
			var s corev1.Secret
			decodeStrict(t, text, &s)
			f.secrets[s.Name] = s
		case "PodDisruptionBudget":
			decodeStrict(t, text, &f.budget)
		case "NetworkPolicy":
			decodeStrict(t, text, &f.policy)
		case "HorizontalPodAutoscaler":
			f.scaler = &autoscalingv2.HorizontalPodAutoscaler{}
			decodeStrict(t, text, f.scaler)
		case "ClusterRole":
			decodeStrict(t, text, &f.role)
		case "ClusterRoleBinding":
			decodeStrict(t, text, &f.binding)
		case "ServiceAccount":
		default:
			t.Errorf("%s: a kind that no test knows", kind)
		}
	}
	f.pod = f.spec.Template.Spec
	if len(f.pod.InitContainers) != 1 || len(f.pod.Containers) != 1 {
		t.Fatalf("%d init containers and %d containers; want Ringside as the one, Prometheus as the other", len(f.pod.InitContainers), len(f.pod.Containers))
	}
	f.files = f.configFiles(t)
	return f
}

// configFiles is what the volume config has in it.
func (f *fleet) configFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, v := range f.pod.Volumes {
		switch {
		case v.Name != "config":
		case v.ConfigMap != nil:
			maps.Copy(files, f.maps[v.ConfigMap.Name].Data)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					maps.Copy(files, f.maps[s.ConfigMap.Name].Data)
					continue
				}
				for name, text := range f.secrets[s.Secret.Name].Data {
					files[name] = string(text)
				}
			}
		}
	}
	if files["ringside.yml"] == "" || files["prometheus.yml"] == "" {
		t.Fatalf("the volume config has %q", slices.Collect(maps.Keys(files)))
	}
	return files
}

func (f *fleet) ringside() *corev1.Container   { return &f.pod.InitContainers[0] }
func (f *fleet) prometheus() *corev1.Container { return &f.pod.Containers[0] }

func kind(t *testing.T, text []byte) string {
	t.Helper()
	var about metav1.TypeMeta
	decode(t, text, &about)
	return about.Kind
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
}

func decodeStrict(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
}

// TestSchemas has the objects checked against the schemas of Kubernetes 1.30.
func TestSchemas(t *testing.T) {
	validate := tool(t, "KUBECTL_VALIDATE")
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "all.yaml")
			write(t, path, onelineSecrets(t, build(t, overlay)))
			run(t, nil, validate, "--version=1.30", path)
		})
	}
	t.Run("a misspelt field is refused", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "all.yaml")
		write(t, path, bytes.Replace(build(t, "minimal"), []byte("startupProbe:"), []byte("startProbe:"), 1))
		out, err := exec.CommandContext(t.Context(), validate, "--version=1.30", path).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("startProbe")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// onelineSecrets undoes what kustomize does to long values of Secrets: it breaks
// their base64 into lines, which Kubernetes reads and kubectl-validate does not.
func onelineSecrets(t *testing.T, all []byte) []byte {
	t.Helper()
	docs := bytes.Split(all, separator)
	for i, text := range docs {
		if kind(t, text) != "Secret" {
			continue
		}
		var s corev1.Secret
		decodeStrict(t, text, &s)
		one, err := yaml.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		docs[i] = one
	}
	return bytes.Join(docs, separator)
}

// TestKubectl compares with the kustomize that kubectl apply -k has in it.
func TestKubectl(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed; the other tests build with kustomize itself")
	}
	for _, overlay := range overlays {
		dir := tree(t, overlay)
		if a, b := run(t, nil, kubectl, "kustomize", dir), run(t, nil, tool(t, "KUSTOMIZE"), "build", dir); !bytes.Equal(a, b) {
			t.Errorf("%s: kubectl kustomize builds\n%s\nkustomize build\n%s", overlay, a, b)
		}
	}
}

// TestRelayChangesNothingElse compares the relay's ringside.yml with the base's,
// whose place it takes.
func TestRelayChangesNothingElse(t *testing.T) {
	base, with := map[string]any{}, map[string]any{}
	for path, into := range map[string]*map[string]any{"base/ringside.yml": &base, "components/relay/ringside.yml": &with} {
		decode(t, read(t, path), into)
	}
	if with["relay"] == nil {
		t.Error("no relay")
	}
	delete(with, "relay")
	a, _ := yaml.Marshal(base)
	b, _ := yaml.Marshal(with)
	if !bytes.Equal(a, b) {
		t.Errorf("base:\n%s\ncomponents/relay, but for the relay:\n%s", a, b)
	}
}
