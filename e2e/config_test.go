package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The source becomes bad and then good again. The last good one stays in force,
// the sidecar says why, and it needs no second push to recover.
func TestBadSourceThenGood(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 90, replicas: 1})
	r.up(r.Pairs...)
	good := fileSource(interval)
	bad := strings.Replace(good, "job_name: farm", "job_name: farm\n    no_such_field: 1", 1)
	files, from := r.written(), time.Now()

	if err := r.WriteFile("prometheus.yml", bad); err != nil {
		t.Fatal(err)
	}
	refused := r.await(15*time.Second, "refused", func() error {
		return r.everyPair(func(p *Pair) error { return r.reloaded(p, 0, "no_such_field") })
	})
	r.event("refused by all")
	r.watch(3 * interval)
	if rewritten := changed(files, r.written()); len(rewritten) > 0 {
		t.Errorf("a bad source rewrote %v", rewritten)
	}

	better := good + "  - job_name: added\n    static_configs: [{targets: ['127.0.0.1:1']}]\n"
	if err := r.WriteFile("prometheus.yml", better); err != nil {
		t.Fatal(err)
	}
	loaded := r.await(30*time.Second, "loaded", func() error {
		return r.everyPair(func(p *Pair) error {
			if err := r.reloaded(p, 1, ""); err != nil {
				return err
			}
			return r.loaded(p, "job_name: added")
		})
	})
	r.settle(20*time.Second, r.Pairs...)
	r.owners()
	r.measured("refused by all after %s; the good one loaded by all after %s; %d missed",
		refused.Round(10*time.Millisecond), loaded.Round(10*time.Millisecond), r.noneMissed(r.targets, from))
}

func (r *rig) everyPair(check func(*Pair) error) error {
	for _, p := range r.Pairs {
		if err := check(p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// reloaded returns an error unless the metric of the last reload has the value
// and the status of the configuration contains says.
func (r *rig) reloaded(p *Pair, value float64, says string) error {
	got, err := p.Metric(r.Context(), "ringside_config_last_reload_successful")
	if err != nil {
		return err
	}
	if got != value {
		return fmt.Errorf("ringside_config_last_reload_successful is %g", got)
	}
	body, err := p.Ask(r.Context(), "/api/v1/status/config")
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(says)) {
		return fmt.Errorf("the status does not say %q: %s", says, body)
	}
	return nil
}

// loaded returns an error unless the Prometheus of p runs with a configuration
// that contains text.
func (r *rig) loaded(p *Pair, text string) error {
	body, err := fetch(r.Context(), p.client, p.Prometheus.URL+"/api/v1/status/config")
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(text)) {
		return fmt.Errorf("prometheus has not loaded %q", text)
	}
	return nil
}

// The source is a Kubernetes ConfigMap: a symlink to a symlink to a directory,
// of which the second is swapped.
func TestConfigMapSwap(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 3, targets: 90, replicas: 1, sourceFile: "conf/prometheus.yml"})
	for _, p := range r.Pairs {
		r.mountConfigMap(p, "1", fileSource(interval))
	}
	r.up(r.Pairs...)
	from := time.Now()
	slower := strings.Replace(fileSource(interval), "scrape_timeout: 2000ms", "scrape_timeout: 1900ms", 1)
	for _, p := range r.Pairs {
		r.mountConfigMap(p, "2", slower)
	}
	r.event("swapped")
	loaded := r.await(30*time.Second, "loaded", func() error {
		return r.everyPair(func(p *Pair) error { return r.loaded(p, "scrape_timeout: 1s900ms") })
	})
	r.settle(20*time.Second, r.Pairs...)
	r.owners()
	r.measured("loaded by all %s after the swap; %d missed", loaded.Round(10*time.Millisecond), r.noneMissed(r.targets, from))
}

// mountConfigMap makes source the one of p in the way that the kubelet does.
func (r *rig) mountConfigMap(p *Pair, version, source string) {
	r.Helper()
	conf := filepath.Join(p.Dir, "conf")
	if err := p.WriteFile("conf/..v"+version+"/prometheus.yml", source); err != nil {
		r.Fatal(err)
	}
	link := func(to, name string) {
		temp := filepath.Join(conf, ".."+name+".tmp")
		if err := os.Symlink(to, temp); err != nil {
			r.Fatal(err)
		}
		if err := os.Rename(temp, filepath.Join(conf, name)); err != nil {
			r.Fatal(err)
		}
	}
	link("..v"+version, "..data")
	if version == "1" {
		link("..data/prometheus.yml", "prometheus.yml")
	}
}
