package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// serviceAccount is where Kubernetes puts what a pod proves its identity with.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// disk is the pod's volumes as directories, each below root at its mount path.
type disk struct {
	root  string
	paths *strings.Replacer
}

// newDisk fills them with the files of the ConfigMap and the Secrets.
func newDisk(t *testing.T, f *fleet) *disk {
	t.Helper()
	d := &disk{root: t.TempDir()}
	pairs := []string{serviceAccount, filepath.Join(d.root, serviceAccount)}
	for _, m := range f.ringside().VolumeMounts {
		pairs = append(pairs, m.MountPath+"/", filepath.Join(d.root, m.MountPath)+"/")
		if err := os.MkdirAll(filepath.Join(d.root, m.MountPath), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Without a slash it is the end of an argument or of a line.
	data := f.ringsideFile(t).Prometheus.DataDir
	pairs = append(pairs, "data_dir: "+data, "data_dir: "+d.at(data), "path="+data, "path="+d.at(data))
	d.paths = strings.NewReplacer(pairs...)
	for name, text := range f.files {
		write(t, d.at("/etc/ringside/"+name), []byte(d.paths.Replace(text)))
	}
	for _, v := range f.pod.Volumes {
		if v.Secret == nil {
			continue
		}
		i := slices.IndexFunc(f.ringside().VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		for name, text := range f.secrets[v.Secret.SecretName].Data {
			write(t, filepath.Join(d.at(f.ringside().VolumeMounts[i].MountPath), name), text)
		}
	}
	return d
}

// addServiceAccount makes the files that promtool looks for.
func (d *disk) addServiceAccount(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ca.crt", "token"} {
		write(t, d.at(filepath.Join(serviceAccount, name)), nil)
	}
}

// at is where a path of the pod is.
func (d *disk) at(path string) string { return filepath.Join(d.root, path) }

// environ is the environment of the pod's Ringside.
func (d *disk) environ(f *fleet) []string {
	var out []string
	for name, value := range env(f) {
		out = append(out, name+"="+d.paths.Replace(value))
	}
	return out
}

// TestConfigurations has the programs check what the ConfigMap holds.
func TestConfigurations(t *testing.T) {
	ringside, promtool := tool(t, "RINGSIDE"), tool(t, "PROMTOOL")
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) { checkConfigurations(t, load(t, overlay), ringside, promtool) })
	}
	t.Run("a missing variable is refused", func(t *testing.T) {
		d := newDisk(t, load(t, "minimal"))
		out, err := exec.CommandContext(t.Context(), ringside, "check-config", "--config.expand-env", d.at("/etc/ringside/ringside.yml")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "${POD_NAMESPACE} is not set") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func checkConfigurations(t *testing.T, f *fleet, ringside, promtool string) {
	t.Helper()
	d := newDisk(t, f)
	out := run(t, d.environ(f), ringside, "check-config", "--config.expand-env", d.at("/etc/ringside/ringside.yml"))
	if !strings.Contains(string(out), "is good: member ringside-0 of cluster monitoring/ringside") || strings.Contains(string(out), "warning") {
		t.Errorf("check-config says:\n%s", out)
	}
	// Files that it names are the pod's, and need not be here.
	run(t, nil, promtool, "check", "config", "--syntax-only", d.at("/etc/ringside/prometheus.yml"))
}
