package kubernetes

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestFacts checks what schemas know nothing of.
func TestFacts(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			f := load(t, overlay)
			for name, check := range map[string]func(*testing.T, *fleet){
				"selectors": checkSelectors, "peers": checkPeers, "ports": checkPorts, "policy": checkPolicy,
				"files": checkFiles, "order": checkOrder, "eviction": checkEviction, "jobs": checkJobs,
			} {
				t.Run(name, func(t *testing.T) { check(t, f) })
			}
		})
	}
}

// ringsideFile is what the tests read of ringside.yml.
type ringsideFile struct {
	Cluster struct {
		Peers   []string `json:"peers"`
		KeyFile string   `json:"key_file"`
	} `json:"cluster"`
	Prometheus struct {
		GeneratedConfigFile string `json:"generated_config_file"`
		TargetsDir          string `json:"targets_dir"`
		DataDir             string `json:"data_dir"`
	} `json:"prometheus"`
	Scrape struct {
		CapacitySeries int           `json:"capacity_series"`
		Jobs           []jobSharding `json:"jobs"`
	} `json:"scrape"`
	Relay struct {
		Upstreams []any `json:"upstreams"`
	} `json:"relay"`
	Uploader struct {
		BucketFile string `json:"bucket_file"`
	} `json:"uploader"`
}

type jobSharding struct {
	Job        string `json:"job"`
	Everywhere bool   `json:"everywhere"`
}

func (f *fleet) ringsideFile(t *testing.T) ringsideFile {
	t.Helper()
	var r ringsideFile
	decode(t, []byte(f.files["ringside.yml"]), &r)
	return r
}

// checkSelectors: whatever selects pods selects those of the workload.
func checkSelectors(t *testing.T, f *fleet) {
	selectors := map[string]*metav1.LabelSelector{
		"workload": f.spec.Selector, "budget": f.budget.Spec.Selector, "policy": &f.policy.Spec.PodSelector,
		"members in": f.policy.Spec.Ingress[0].From[0].PodSelector, "members out": f.policy.Spec.Egress[0].To[0].PodSelector,
	}
	for name, s := range f.services {
		selectors["service "+name] = &metav1.LabelSelector{MatchLabels: s.Spec.Selector}
	}
	for _, c := range f.pod.TopologySpreadConstraints {
		selectors["spread over "+c.TopologyKey] = c.LabelSelector
	}
	for _, a := range f.pod.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		selectors["anti-affinity"] = a.PodAffinityTerm.LabelSelector
	}
	for name, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(f.spec.Template.Labels)) {
			t.Errorf("%s selects %s (%v); the pods have %v", name, selector, err, f.spec.Template.Labels)
		}
	}
	if f.kind == "StatefulSet" && f.services[f.spec.ServiceName].Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("serviceName %q is no headless Service", f.spec.ServiceName)
	}
	if f.scaler != nil && (f.scaler.Spec.ScaleTargetRef.Kind != f.kind || f.scaler.Spec.ScaleTargetRef.Name != "ringside" || f.spec.Replicas != nil) {
		t.Errorf("the autoscaler scales %+v, of which the manifest says %v replicas", f.scaler.Spec.ScaleTargetRef, f.spec.Replicas)
	}
}

// checkPeers: the SRV name of ringside.yml is a port of a headless Service that
// lists pods before they are ready.
func checkPeers(t *testing.T, f *fleet) {
	s := f.services["ringside"]
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == "gossip" })
	if i < 0 || s.Spec.ClusterIP != corev1.ClusterIPNone || !s.Spec.PublishNotReadyAddresses {
		t.Fatalf("Service ringside: %+v", s.Spec)
	}
	want := fmt.Sprintf("dnssrv+_%s._%s.%s.${POD_NAMESPACE}.svc", s.Spec.Ports[i].Name, strings.ToLower(string(s.Spec.Ports[i].Protocol)), s.Name)
	if got := f.ringsideFile(t).Cluster.Peers; !slices.Equal(got, []string{want}) {
		t.Errorf("peers %q, want %q", got, want)
	}
}

// checkFiles: what one program writes the other reads, at the same paths of the
// same volumes, as the same user.
func checkFiles(t *testing.T, f *fleet) {
	r, ringside, prometheus := f.ringsideFile(t), f.ringside(), f.prometheus()
	for _, want := range []string{"--config.file=" + r.Prometheus.GeneratedConfigFile, "--storage.tsdb.path=" + r.Prometheus.DataDir} {
		if !slices.Contains(prometheus.Args, want) {
			t.Errorf("Prometheus runs with %q, want %s", prometheus.Args, want)
		}
	}
	for _, p := range []string{r.Prometheus.GeneratedConfigFile, r.Prometheus.TargetsDir, r.Prometheus.DataDir, "/etc/ringside/web.yml", "/etc/ringside-rules/alerts.yml"} {
		writer, reader := mount(ringside, p), mount(prometheus, p)
		if writer.Name == "" || writer.Name != reader.Name || writer.MountPath != reader.MountPath {
			t.Errorf("%s: Ringside has it in %+v, Prometheus in %+v", p, writer, reader)
		}
	}
	if m := mount(prometheus, r.Prometheus.DataDir); m.ReadOnly {
		t.Error("Prometheus cannot write its data")
	}
	for _, c := range []*corev1.Container{ringside, prometheus} {
		for _, m := range c.VolumeMounts {
			if m.SubPath != "" || !slices.ContainsFunc(f.pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				t.Errorf("%s mounts %+v of %+v", c.Name, m, f.pod.Volumes)
			}
		}
		restricted(t, f, c)
	}
	delay := "--storage.tsdb.delay-compact-file.path=" + path.Join(r.Prometheus.DataDir, "thanos.shipper.json")
	if r.Uploader.BucketFile != "${BUCKET_FILE}" || slices.Contains(prometheus.Args, delay) != f.uploads() {
		t.Errorf("bucket_file %q, uploads %v, Prometheus runs with %q", r.Uploader.BucketFile, f.uploads(), prometheus.Args)
	}
	if f.uploads() && len(r.Relay.Upstreams) > 0 && f.prometheusFile(t).Global.ExternalLabels["tenant_id"] == "" {
		t.Error("prometheus.yml: external_labels lacks tenant_id, which Thanos Receive gives what it stores: what is there and in the bucket would count twice")
	}
	for _, secret := range []string{r.Cluster.KeyFile, env(f)["BUCKET_FILE"]} {
		if secret != "" && !f.hasSecret(secret) {
			t.Errorf("%s is in no Secret that Ringside alone mounts", secret)
		}
	}
}

// mount is where a container has a path.
func mount(c *corev1.Container, p string) corev1.VolumeMount {
	i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return p == m.MountPath || strings.HasPrefix(p, m.MountPath+"/") })
	if i < 0 {
		return corev1.VolumeMount{}
	}
	return c.VolumeMounts[i]
}

func (f *fleet) hasSecret(file string) bool {
	at := mount(f.ringside(), file)
	if mount(f.prometheus(), file).Name != "" {
		return false
	}
	return slices.ContainsFunc(f.pod.Volumes, func(v corev1.Volume) bool {
		return v.Name == at.Name && v.Secret != nil && f.secrets[v.Secret.SecretName].Data[strings.TrimPrefix(file, at.MountPath+"/")] != nil
	})
}

func (f *fleet) uploads() bool { return env(f)["BUCKET_FILE"] != "" }

// env is the environment of Ringside; what Kubernetes fills in is made up.
func env(f *fleet) map[string]string {
	made := map[string]string{
		"metadata.name": "ringside-0", "metadata.namespace": "monitoring", "status.podIP": "10.0.0.7",
		"metadata.labels['topology.kubernetes.io/zone']": "",
	}
	out := map[string]string{}
	for _, e := range f.ringside().Env {
		out[e.Name] = e.Value
		if e.ValueFrom != nil {
			out[e.Name] = made[e.ValueFrom.FieldRef.FieldPath]
		}
	}
	return out
}

// restricted checks what the Pod Security Standard of that name asks for, and
// that no container leaves the pod's user.
func restricted(t *testing.T, f *fleet, c *corev1.Container) {
	t.Helper()
	p, s := f.pod.SecurityContext, c.SecurityContext
	if !*p.RunAsNonRoot || *p.RunAsUser == 0 || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || s.RunAsUser != nil || s.RunAsGroup != nil {
		t.Errorf("%s: pod %+v, container %+v", c.Name, p, s)
	}
	if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("%s: %+v", c.Name, s)
	}
}

// checkOrder: Ringside starts first and ends last, and there is time for it all.
func checkOrder(t *testing.T, f *fleet) {
	const (
		flushDeadline = 60 * time.Second // of each remote_write entry, Prometheus's default
		relayFinish   = 35 * time.Second // good-bye, and what is under way
		stall         = 2 * time.Minute  // without progress an upload is given up after it
	)
	if always := corev1.ContainerRestartPolicyAlways; f.ringside().RestartPolicy == nil || *f.ringside().RestartPolicy != always {
		t.Error("Ringside is no sidecar: restartPolicy is not Always")
	}
	if p := f.ringside().StartupProbe.HTTPGet.Path; p != "/-/healthy" {
		t.Errorf("Prometheus is started once %s answers; that may need Prometheus", p)
	}
	queues := 1 // the feedback
	if len(f.ringsideFile(t).Relay.Upstreams) > 0 {
		queues++
	}
	shortest, longest := intervals(t, f)
	// As docs/uploads.md counts: of a head of three hours, 1,000,000 samples a second.
	samples := f.ringsideFile(t).Scrape.CapacitySeries * int(3*time.Hour/shortest)
	flush := time.Duration(samples) * time.Second / 1_000_000
	need := 2*longest + 30*time.Second + time.Duration(queues)*flushDeadline + 5*time.Second + relayFinish + flush + stall
	if got := time.Duration(*f.pod.TerminationGracePeriodSeconds) * time.Second; got < need {
		t.Errorf("grace period %s, needed at worst %s, of which %s for the head", got, need, flush)
	}
	if f.ringside().Resources.Limits.Memory().Cmp(*f.prometheus().Resources.Limits.Memory()) < 0 {
		t.Error("Ringside may use less memory than Prometheus, and is to open its head")
	}
}

// intervals are the shortest and the longest at which something is scraped.
func intervals(t *testing.T, f *fleet) (shortest, longest time.Duration) {
	t.Helper()
	c := f.prometheusFile(t)
	global := cmp.Or(c.Global.ScrapeInterval, config.DefaultGlobalConfig.ScrapeInterval)
	shortest, longest = time.Duration(global), time.Duration(global)
	for _, job := range c.ScrapeConfigs {
		interval := time.Duration(cmp.Or(job.ScrapeInterval, global))
		shortest, longest = min(shortest, interval), max(longest, interval)
	}
	return shortest, longest
}

// checkEviction: cluster-autoscaler may empty a node where what the pods' emptyDirs
// hold is in a bucket by then.
func checkEviction(t *testing.T, f *fleet) {
	listed := f.spec.Template.Annotations["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"]
	for _, v := range f.pod.Volumes {
		if f.uploads() && v.EmptyDir != nil && !slices.Contains(strings.Split(listed, ","), v.Name) {
			t.Errorf("volume %s holds a node up: %q are said to be safe to evict", v.Name, listed)
		}
	}
}
