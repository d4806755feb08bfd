package promconfig_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	targetsDir  = "/var/lib/ringside/targets"
	feedbackURL = "http://127.0.0.1:9591/api/v1/feedback"
	relayURL    = "http://127.0.0.1:9591/api/v1/write"
)

func options() promconfig.Options {
	return promconfig.Options{
		ReplicaLabel:  "prometheus_replica",
		Replica:       "prometheus-0",
		TargetsDir:    targetsDir,
		GeneratedFile: "/var/lib/ringside/prometheus.yml",
		FeedbackURL:   feedbackURL,
		Version:       "0.1.0",
		Sharded:       func(string) bool { return true },
	}
}

// write puts a source into a directory of its own.
func write(t testing.TB, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string, opt promconfig.Options) *promconfig.Source {
	t.Helper()
	src, err := promconfig.Load(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestGenerated(t *testing.T) {
	sources, err := filepath.Glob("testdata/sources/*/prometheus.yml")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, path := range sources {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			opt := options()
			if name == "remote_write" {
				opt.RelayURL = relayURL
			}
			src := load(t, path, opt)
			dir, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(string(src.Generated), dir, "/etc/prometheus")
			got = strings.ReplaceAll(got, filepath.Dir(dir), "/etc")
			compareGolden(t, filepath.Join("testdata/golden", name+".yml"), got)
			compareMeaning(t, path, src, opt)
		})
	}
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; run with -update and look at the difference\n%s", path, got)
	}
}

// compareMeaning loads the source and, from another directory, the generated
// file as Prometheus does, and wants them equal once what is meant to differ is
// taken out.
func compareMeaning(t *testing.T, path string, src *promconfig.Source, opt promconfig.Options) {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	want, wantJobs := loadFile(t, abs)
	got, gotJobs := loadFile(t, write(t, string(src.Generated)))

	if value := got.GlobalConfig.ExternalLabels.Get(opt.ReplicaLabel); value != opt.Replica {
		t.Errorf("replica label: %q", value)
	}
	external := map[string]string{}
	got.GlobalConfig.ExternalLabels.Range(func(l labels.Label) { external[l.Name] = l.Value })
	delete(external, opt.ReplicaLabel)
	if !labels.Equal(want.GlobalConfig.ExternalLabels, labels.FromMap(external)) {
		t.Errorf("external labels: %v", external)
	}
	rules := &got.AlertingConfig.AlertRelabelConfigs
	if len(got.AlertingConfig.AlertmanagerConfigs) > 0 {
		if keep := alertKeeps(*rules, opt.ReplicaLabel); keep {
			t.Error("alerts keep the replica label")
		}
		*rules = append([]*relabel.Config(nil), (*rules)[1:]...)
	}
	added := got.RemoteWriteConfigs[len(want.RemoteWriteConfigs):]
	if len(added) == 0 || added[0].URL.String() != feedbackURL || added[0].Name != "ringside-feedback" {
		t.Errorf("remote_write added: %v", added)
	}
	got.RemoteWriteConfigs = append([]*config.RemoteWriteConfig(nil), got.RemoteWriteConfigs[:len(want.RemoteWriteConfigs)]...)
	want.GlobalConfig.ExternalLabels, got.GlobalConfig.ExternalLabels = labels.EmptyLabels(), labels.EmptyLabels()
	want.ScrapeConfigFiles, want.ScrapeConfigs, got.ScrapeConfigs = nil, nil, nil
	want.GlobalConfig.MetricNameEscapingScheme, got.GlobalConfig.MetricNameEscapingScheme = "", ""
	if !reflect.DeepEqual(want, got) {
		t.Errorf("the source is\n%s\nthe generated file\n%s", want, got)
	}
	compareJobs(t, wantJobs, gotJobs, src.Jobs)
}

// TestRelayEntry wants Prometheus to read what the relay needs it to.
func TestRelayEntry(t *testing.T) {
	for message, want := range map[string]string{
		"": "prometheus.WriteRequest", "io.prometheus.write.v2.Request": "io.prometheus.write.v2.Request",
	} {
		opt := options()
		opt.RelayURL, opt.RelayMessage = relayURL, message
		src := load(t, write(t, "remote_write: [{url: http://own/}]\n"), opt)
		cfg, _ := loadFile(t, write(t, string(src.Generated)))
		if len(cfg.RemoteWriteConfigs) != 3 || src.RemoteWrites != 3 {
			t.Fatalf("%d remote_write entries, said to be %d; want 3", len(cfg.RemoteWriteConfigs), src.RemoteWrites)
		}
		got := cfg.RemoteWriteConfigs[2]
		if got.Name != "ringside-relay" || got.URL.String() != relayURL || string(got.ProtobufMessage) != want {
			t.Errorf("entry %s to %s with %s, want %s", got.Name, got.URL, got.ProtobufMessage, want)
		}
		if !got.QueueConfig.RetryOnRateLimit || got.SendExemplars != (message == "") || !got.SendNativeHistograms || !got.MetadataConfig.Send ||
			time.Duration(got.RemoteTimeout) <= 25*time.Second || len(got.WriteRelabelConfigs) > 0 {
			t.Errorf("something is not sent, or not again, or not waited for: %+v", got)
		}
	}
}

func compareJobs(t *testing.T, want, got []*config.ScrapeConfig, jobs []promconfig.Job) {
	t.Helper()
	if len(want) != len(got) || len(want) != len(jobs) {
		t.Fatalf("%d jobs in the source, %d generated, %d returned", len(want), len(got), len(jobs))
	}
	for i, job := range jobs {
		if !reflect.DeepEqual(job.Config, want[i]) || !reflect.DeepEqual(job.Discovery, want[i].ServiceDiscoveryConfigs) {
			t.Errorf("job %d: Config or Discovery is not as Prometheus reads the source", i)
		}
		sds := got[i].ServiceDiscoveryConfigs
		if !reflect.DeepEqual(sds, discovery.Configs{&file.SDConfig{Files: []string{job.TargetFile}, RefreshInterval: file.DefaultSDConfig.RefreshInterval}}) {
			t.Errorf("job %d: discovery %v", i, sds)
		}
		if job.RestoreFilepath {
			got[i].RelabelConfigs = got[i].RelabelConfigs[2:]
		}
		want[i].ServiceDiscoveryConfigs, got[i].ServiceDiscoveryConfigs = nil, nil
		if !reflect.DeepEqual(want[i], got[i]) {
			t.Errorf("job %d: the source is\n%+v\nthe generated file\n%+v", i, want[i], got[i])
		}
	}
}

func alertKeeps(rules []*relabel.Config, label string) bool {
	b := labels.NewBuilder(labels.FromStrings("alertname", "x", label, "y"))
	relabel.ProcessBuilder(b, rules...)
	return b.Labels().Has(label)
}

func loadFile(t *testing.T, path string) (*config.Config, []*config.ScrapeConfig) {
	t.Helper()
	cfg, err := config.LoadFile(path, false, promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := cfg.GetScrapeConfigs()
	if err != nil {
		t.Fatal(err)
	}
	return cfg, jobs
}
