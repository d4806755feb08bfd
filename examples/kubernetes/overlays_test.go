package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// password is one that a prometheus.yml may have in it.
const password = "a password in prometheus.yml"

// addPassword gives an overlay a prometheus.yml with the password.
func addPassword(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Appendf(read(t, "base/prometheus.yml"),
		"\n  - job_name: private\n    basic_auth: {username: me, password: %s}\n", password))
}

// TestSecretConfiguration: a prometheus.yml that comes as a Secret is nowhere else.
func TestSecretConfiguration(t *testing.T) {
	dir := tree(t, "operator")
	addPassword(t, dir)
	built := run(t, nil, tool(t, "KUSTOMIZE"), "build", dir)
	f := parse(t, built)
	if !strings.Contains(f.files["prometheus.yml"], password) {
		t.Errorf("the pods do not get the overlay's prometheus.yml:\n%s", f.files["prometheus.yml"])
	}
	if bytes.Contains(built, []byte(password)) {
		t.Error("what is built shows the password outside of a Secret")
	}
	if names := f.maps["ringside-config"].Data; len(names) != 1 || names["ringside.yml"] == "" {
		t.Errorf("the ConfigMap has more than ringside.yml: %d files", len(names))
	}
}

// TestMoreThanASecretHolds follows docs/migration.md for a large prometheus.yml.
func TestMoreThanASecretHolds(t *testing.T) {
	dir := tree(t, "operator")
	var k, more map[string]any
	decode(t, read(t, filepath.Join(dir, "kustomization.yaml")), &k)
	decode(t, []byte(block(t, "migration.md", "projected/sources/-")), &more)
	k["secretGenerator"] = append(k["secretGenerator"].([]any), more["secretGenerator"].([]any)...)
	k["patches"] = more["patches"]
	text, err := yaml.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "kustomization.yaml"), text)
	write(t, filepath.Join(dir, "jobs-1.yml"), []byte("scrape_configs: [{job_name: more}]\n"))
	f := parse(t, run(t, nil, tool(t, "KUSTOMIZE"), "build", dir))
	if !strings.Contains(f.files["jobs-1.yml"], "more") || f.files["ringside.yml"] == "" || f.files["prometheus.yml"] == "" {
		t.Errorf("the volume config has %q", f.files)
	}
}

// TestSecondFleet builds the overlay with which docs/kubernetes.md puts another
// fleet into the same Kubernetes cluster.
func TestSecondFleet(t *testing.T) {
	dir := tree(t, "second")
	addPassword(t, dir)
	text := block(t, "kubernetes.md", "namespace: shop")
	const far, version = "github.com/ringside-project/ringside//examples/kubernetes/", "?ref=v0.1.0"
	if !strings.Contains(text, far) {
		t.Errorf("nothing of %s in\n%s", far, text)
	}
	write(t, filepath.Join(dir, "kustomization.yaml"), []byte(strings.ReplaceAll(strings.ReplaceAll(text, far, "../../"), version, "")))
	f, first := parse(t, run(t, nil, tool(t, "KUSTOMIZE"), "build", dir)), load(t, "minimal")
	if f.role.Name == first.role.Name || f.binding.Name == first.binding.Name {
		t.Errorf("both fleets have ClusterRole %s, ClusterRoleBinding %s", f.role.Name, f.binding.Name)
	}
	if f.binding.RoleRef.Name != f.role.Name || len(f.binding.Subjects) != 1 || f.binding.Subjects[0].Namespace != "shop" || f.binding.Subjects[0].Name != f.pod.ServiceAccountName {
		t.Errorf("%+v binds %s to %+v", f.binding.RoleRef, f.role.Name, f.binding.Subjects)
	}
	if f.policy.Namespace != "shop" || f.services["ringside"].Namespace != "shop" || f.maps["ringside-config"].Namespace != "shop" {
		t.Errorf("not all is in the namespace: %+v", f.policy.ObjectMeta)
	}
	if !strings.Contains(f.files["prometheus.yml"], password) {
		t.Error("the fleet has not got its own prometheus.yml")
	}
	checkPeers(t, f)
	checkSelectors(t, f)
}

// TestIgnored: Git passes over the files that an overlay's Secrets are made of.
func TestIgnored(t *testing.T) {
	patterns := strings.Fields(string(read(t, ".gitignore")))
	dirs, err := os.ReadDir("overlays")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		var k struct {
			SecretGenerator []struct {
				Files []string `json:"files"`
			} `json:"secretGenerator"`
		}
		decode(t, read(t, filepath.Join("overlays", dir.Name(), "kustomization.yaml")), &k)
		if len(k.SecretGenerator) == 0 {
			t.Errorf("%s makes no Secret", dir.Name())
		}
		for _, s := range k.SecretGenerator {
			for _, file := range s.Files {
				if !slices.ContainsFunc(patterns, func(p string) bool { return ignores(p, path.Join("overlays", dir.Name(), file)) }) {
					t.Errorf("Git would take %s of overlays/%s", file, dir.Name())
				}
			}
		}
	}
}

// ignores tells whether a pattern of a .gitignore in this directory hits a file.
func ignores(pattern, file string) bool {
	anchored, ok := strings.CutPrefix(pattern, "/")
	if !ok {
		file = path.Base(file)
	}
	hit, _ := path.Match(anchored, file)
	return hit
}
