package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ringside-project/ringside/e2e"
)

// TestPodLife runs two pods of the manifests as processes, with the manifests' own
// arguments, probes and hook, and ends one of them in a pod's order: the hook,
// Prometheus, Ringside. Only addresses, paths and what is scraped are the test's.
func TestPodLife(t *testing.T) {
	programs := map[string]string{"ringside": tool(t, "RINGSIDE"), "prometheus": tool(t, "PROMETHEUS")}
	targets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "answer 42") }))
	t.Cleanup(targets.Close)
	f := load(t, "deployment")
	bucket := t.TempDir()
	pods := newPods(t, f, 2, bucket)
	for _, p := range pods {
		p.scrapes(targets.Listener.Addr().String(), pods)
		p.start(f.ringside(), programs)
		p.await(f.ringside(), f.ringside().StartupProbe)
		// Ringside writes them in the moment in which it begins to answer; a kubelet
		// takes longer than that to start a container.
		p.made("/run/ringside/prometheus.yml", "/prometheus/thanos.shipper.json")
		p.start(f.prometheus(), programs)
	}
	for _, p := range pods {
		for _, c := range []*corev1.Container{f.prometheus(), f.ringside()} {
			p.await(c, c.StartupProbe)
			p.await(c, c.ReadinessProbe)
		}
	}
	for _, p := range pods {
		p.answers(`count(up{job="ringside"} == 1)`, "2")
	}
	if scaler := load(t, "thanos").scaler.Spec.Metrics[0].Pods.Metric.Name; !strings.Contains(pods[0].get("/metrics", 9590), "\n"+scaler+" ") {
		t.Errorf("%s is not among the metrics", scaler)
	}

	leaver := pods[1]
	hook := f.prometheus().Lifecycle.PreStop.HTTPGet
	began := time.Now()
	drained := leaver.get(hook.Path, hook.Port.IntVal)
	if !strings.Contains(drained, `"handed":{"ringside-0":`) {
		t.Errorf("the hook is answered: %s", drained)
	}
	leaver.end("prometheus")
	if got := leaver.proc["ringside"].Signal(syscall.Signal(0)); got != nil {
		t.Errorf("Ringside was gone before Prometheus: %v", got)
	}
	leaver.end("ringside")
	t.Logf("MEASURED the pod was gone %s after the hook was called", time.Since(began).Round(time.Millisecond))
	metas, err := filepath.Glob(filepath.Join(bucket, "*", "meta.json"))
	if err != nil || len(metas) == 0 {
		t.Fatalf("no block in the bucket (%v)", err)
	}
	if meta := strings.ReplaceAll(string(read(t, metas[0])), " ", ""); !strings.Contains(meta, `"prometheus_replica":"ringside-1"`) {
		t.Errorf("the block is not the leaver's: %s", meta)
	}
}

// TestGenerated has Prometheus's own tool check what Ringside makes of the
// manifests' prometheus.yml, and the mixin's rules with it.
func TestGenerated(t *testing.T) {
	ringside, promtool := tool(t, "RINGSIDE"), tool(t, "PROMTOOL")
	f := load(t, "thanos")
	p := newPods(t, f, 1, t.TempDir())[0]
	p.disk.addServiceAccount(t)
	for _, name := range []string{"alerts.yml", "rules.yml"} {
		write(t, p.disk.at("/etc/ringside-rules/"+name), read(t, "../mixin/rendered/"+name))
	}
	p.start(f.ringside(), map[string]string{"ringside": ringside})
	p.made("/run/ringside/prometheus.yml")
	generated := p.disk.at("/run/ringside/prometheus.yml")
	if out := run(t, nil, promtool, "check", "config", generated); !strings.Contains(string(out), "2 rule files found") {
		t.Errorf("promtool does not find the rules:\n%s", out)
	}
	for _, entry := range []string{"ringside-feedback", "ringside-relay"} {
		if !strings.Contains(string(read(t, generated)), "name: "+entry) {
			t.Errorf("no remote_write entry %s", entry)
		}
	}
}

// pod is one member on loopback.
type pod struct {
	*testing.T
	site e2e.Site
	disk *disk
	env  []string
	proc map[string]e2e.Process
}

// newPods has the pods' files written, changed by as little as loopback asks for.
func newPods(t *testing.T, f *fleet, n int, bucket string) []*pod {
	t.Helper()
	sites, err := e2e.LoopbackSites(n, e2e.NewProcesses(), false)
	if err != nil {
		t.Fatal(err)
	}
	pods := make([]*pod, n)
	for i, site := range sites {
		p := &pod{T: t, site: site, disk: newDisk(t, f), proc: map[string]e2e.Process{}}
		p.env = slices.DeleteFunc(p.disk.environ(f), func(e string) bool { return strings.HasPrefix(e, "POD_") })
		p.env = append(p.env, fmt.Sprintf("POD_NAME=ringside-%d", i), "POD_NAMESPACE=monitoring", "POD_IP=127.0.0.1")
		p.configure([]string{sites[0].Gossip})
		write(t, p.disk.at("/etc/ringside-bucket/bucket.yml"), fmt.Appendf(nil, "type: FILESYSTEM\nconfig: {directory: %q}\n", bucket))
		pods[i] = p
	}
	return pods
}

// scrapes has the pod scrape 40 targets at an address instead of a cluster's: so
// many that every member has some. Each member scrapes all sidecars.
func (p *pod) scrapes(target string, pods []*pod) {
	p.Helper()
	source := "global: {scrape_interval: 1s, external_labels: {cluster: test}}\nscrape_configs:\n- job_name: pods\n  static_configs:\n"
	for i := range 40 {
		source += fmt.Sprintf("  - {targets: [%q], labels: {__metrics_path__: /%d}}\n", target, i)
	}
	source += "- job_name: ringside\n  static_configs:\n"
	for _, other := range pods {
		source += fmt.Sprintf("  - {targets: [%q]}\n", other.site.Ringside)
	}
	write(p.T, p.disk.at("/etc/ringside/prometheus.yml"), []byte(source))
}

// configure gives ringside.yml the addresses of this pod.
func (p *pod) configure(peers []string) {
	p.Helper()
	path := p.disk.at("/etc/ringside/ringside.yml")
	var c map[string]map[string]any
	decode(p.T, read(p.T, path), &c)
	c["cluster"]["peers"] = peers
	c["cluster"]["listen_address"] = p.site.Gossip
	c["prometheus"]["url"] = "http://" + p.site.Prometheus
	if c["relay"] == nil {
		c["relay"] = map[string]any{}
	}
	c["relay"]["listen_address"] = p.site.Relay
	text, err := yaml.Marshal(c)
	if err != nil {
		p.Fatal(err)
	}
	write(p.T, path, text)
}

// start runs a container's program with the container's arguments.
func (p *pod) start(c *corev1.Container, programs map[string]string) {
	p.Helper()
	args := append(slices.Clone(p.env), programs[c.Name])
	for _, a := range c.Args {
		args = append(args, strings.Replace(p.disk.paths.Replace(a), "=:9590", "="+p.site.Ringside, 1))
	}
	if c.Name == "prometheus" {
		args = append(args, "--web.listen-address="+p.site.Prometheus)
	}
	env, err := exec.LookPath("env")
	if err != nil {
		p.Fatal(err)
	}
	log := filepath.Join(p.disk.root, c.Name+".log")
	proc, err := p.site.Driver.Start(e2e.Command{Path: env, Args: args, Dir: p.disk.root, Log: log})
	if err != nil {
		p.Fatal(err)
	}
	p.proc[c.Name] = proc
	p.Cleanup(func() {
		if proc.Signal(syscall.SIGKILL) == nil {
			proc.Wait()
		}
		if p.Failed() {
			p.Logf("%s:\n%s", log, read(p.T, log))
		}
	})
}

// await asks what a probe asks until it passes.
func (p *pod) await(c *corev1.Container, probe *corev1.Probe) {
	p.Helper()
	port, _ := portOf(c, probe.HTTPGet.Port, corev1.ProtocolTCP)
	p.until(time.Minute, func(ctx context.Context) error {
		if _, err := p.ask(ctx, probe.HTTPGet.Path, port.ContainerPort); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		return nil
	})
}

// answers waits until the pod's Prometheus answers a query with a value.
func (p *pod) answers(query, value string) {
	p.Helper()
	p.until(30*time.Second, func(ctx context.Context) error {
		body, err := p.ask(ctx, "/api/v1/query?query="+url.QueryEscape(query), 9090)
		if err == nil && !strings.Contains(body, `,"`+value+`"]`) {
			err = fmt.Errorf("%s: %s, want %s", query, body, value)
		}
		return err
	})
}

// made waits for files.
func (p *pod) made(paths ...string) {
	p.Helper()
	p.until(10*time.Second, func(context.Context) error {
		for _, path := range paths {
			if _, err := os.Stat(p.disk.at(path)); err != nil {
				return err
			}
		}
		return nil
	})
}

// until tries until it succeeds, and fails the test when time is up.
func (p *pod) until(timeout time.Duration, try func(context.Context) error) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), timeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.Fatalf("after %s: %v", timeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// get asks once, as the kubelet does for a hook.
func (p *pod) get(path string, port int32) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 2*time.Minute)
	defer cancel()
	body, err := p.ask(ctx, path, port)
	if err != nil {
		p.Error(err)
	}
	return body
}

// address is where a port of the manifests is.
func (p *pod) address(port int32) string {
	if port == 9090 {
		return p.site.Prometheus
	}
	return p.site.Ringside
}

func (p *pod) ask(ctx context.Context, path string, port int32) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address(port)+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(body))
	}
	return string(body), err
}

// end sends SIGTERM and waits for exit status 0.
func (p *pod) end(name string) {
	p.Helper()
	proc := p.proc[name]
	if err := proc.Signal(syscall.SIGTERM); err != nil {
		p.Error(err)
	}
	late := time.AfterFunc(time.Minute, func() { proc.Signal(syscall.SIGKILL) })
	defer late.Stop()
	if err := proc.Wait(); err != nil {
		p.Errorf("%s: %v", name, err)
	}
}
