// Package promconfig reads the prometheus.yml that people write, the source, and
// makes of it the prometheus.yml that Prometheus runs with and the list of its
// scrape jobs. Running the discoveries, relabelling and writing files are left
// to package scrape.
package promconfig

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
)

// Options say what is added to the source.
type Options struct {
	ReplicaLabel  string                // name of the external label to add
	Replica       string                // its value: this member
	TargetsDir    string                // absolute; where the jobs' target files will be
	GeneratedFile string                // absolute; where the generated text will be
	FeedbackURL   string                // where Prometheus sends what proves a scrape
	RelayURL      string                // where Prometheus sends all samples; "" for nowhere
	RelayMessage  string                // protobuf_message of what it sends there; "" for its default
	Version       string                // of this program, for the header comment
	Sharded       func(job string) bool // false for a job that every member scrapes, for the warnings; nil: all are
}

// Job is one scrape job of the source.
type Job struct {
	Config     *config.ScrapeConfig // as Prometheus parses it, paths made absolute, with the user's own rules only
	Discovery  discovery.Configs    // what the user wrote
	TargetFile string               // absolute
	// ReadsLabel is false for a discovered label that cannot matter: a __meta_
	// label that no relabel rule can read. Relabelling drops those at its end,
	// so nothing else can read them; labelkeep and labeldrop only take away
	// what is dropped anyway.
	ReadsLabel func(name string) bool
	// ReadsSelf is true when a rule names __meta_ringside_node or __meta_ringside_zone.
	ReadsSelf bool
	// RestoreFilepath is true when a rule may read __meta_filepath, which
	// Prometheus sets to the target file's own name. The generated job then
	// begins with a rule that takes the label's value from
	// __meta_ringside_filepath; a target without that has no __meta_filepath.
	RestoreFilepath bool
}

// Source is the outcome of reading a source. Nobody changes it any more.
type Source struct {
	Jobs           []Job         // in Prometheus's order
	Generated      []byte        // the whole text of the generated prometheus.yml
	Hash           uint64        // of the source as parsed, the same wherever the source lies; secrets do not count
	ExternalLabels labels.Labels // of the generated configuration
	Files          []string      // absolute: the source, its scrape_config_files and its rule files
	Dirs           []string      // absolute: where a change may change any of that
	RuleFiles      []string      // absolute, globs expanded
	RemoteWrites   int           // remote_write entries of the generated configuration
	Warnings       []string      // for people, with path:line
}

// discard is for Prometheus's loader, which logs what it says in errors anyway.
var discard = slog.New(slog.DiscardHandler)

// Load reads the source at path. What Prometheus would refuse is an error, with
// path:line where there is a line, and so is what cannot be sharded.
func Load(path string, opt Options) (*Source, error) {
	if err := opt.validate(path); err != nil {
		return nil, err
	}
	main, cfg, err := loadMain(path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	dir := filepath.Dir(abs)
	files, err := loadJobFiles(cfg, dir)
	if err != nil {
		return nil, err
	}
	src := &Source{Hash: hash(main, cfg, files)}
	cfg.SetDirectory(dir)
	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return nil, locate(path, nil, blame(documents(main, files), cfg.GlobalConfig, err))
	}
	if src.Jobs, err = newJobs(scrapes, opt.TargetsDir); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	e := editor{opt: opt, source: abs, main: main, files: files, jobs: src.Jobs}
	if err := e.refuse(cfg); err != nil {
		return nil, err
	}
	src.Warnings = warnings(e.scrapeJobs(), opt)
	e.edit(dir)
	generated, err := e.render(func(text []byte) (*config.Config, error) {
		return compare(text, cfg, src.Jobs, opt)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	src.Generated, src.ExternalLabels = generated.text, generated.cfg.GlobalConfig.ExternalLabels
	src.RemoteWrites = len(generated.cfg.RemoteWriteConfigs)
	src.Warnings = append(src.Warnings, generated.warnings...)
	src.watch(abs, cfg, files)
	return src, nil
}

func (o Options) validate(path string) error {
	switch {
	case !filepath.IsAbs(o.TargetsDir) || !filepath.IsAbs(o.GeneratedFile):
		return fmt.Errorf("targets directory %q and generated file %q must be absolute", o.TargetsDir, o.GeneratedFile)
	case strings.ContainsAny(o.TargetsDir, `*?[\`):
		return fmt.Errorf("prometheus.targets_dir: %q: Prometheus would take it as a pattern; name one without any of *?[\\", o.TargetsDir)
	case o.ReplicaLabel == "" || o.Replica == "":
		return errors.New("the replica label needs a name and a value")
	}
	if abs, err := filepath.Abs(path); err == nil && abs == filepath.Clean(o.GeneratedFile) {
		return fmt.Errorf("%s is both the source and the generated file; give them different names", path)
	}
	return nil
}

// loadMain reads and parses the source itself, paths as they are written.
func loadMain(path string) (*document, *config.Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("prometheus.config_file: read the source: %w; name the prometheus.yml that people write", err)
	}
	main, treeErr := parseDocument(path, content)
	if treeErr == nil {
		if err := checkLinked(main); err != nil {
			return nil, nil, err
		}
	}
	cfg, err := parse(content)
	if err == nil && treeErr == nil && main.null {
		cfg, err = parse(nil) // of null Prometheus would make a scrape interval of 0
	}
	switch {
	case treeErr != nil:
		return nil, nil, treeErr
	case err != nil:
		return nil, nil, locate(path, &wording{main.root, reflect.TypeFor[config.Config]()}, blameSource(main, err))
	}
	return main, cfg, nil
}

// parse has Prometheus parse a configuration. It survives that Prometheus
// itself crashes on some, for instance on a null in alertmanagers.
func parse(text []byte) (cfg *config.Config, err error) {
	defer func() {
		if crash := recover(); crash != nil {
			cfg, err = nil, fmt.Errorf("this configuration crashes Prometheus: %v", crash)
		}
	}()
	return config.Load(string(text), discard)
}

// newJobs names each job's target file and looks at its rules.
func newJobs(scrapes []*config.ScrapeConfig, dir string) ([]Job, error) {
	jobs := make([]Job, 0, len(scrapes))
	owners := map[string]string{}
	for _, sc := range scrapes {
		name := TargetFileName(sc.JobName)
		if other, taken := owners[name]; taken {
			return nil, fmt.Errorf("jobs %q and %q would have one target file, %s; rename one of them", other, sc.JobName, name)
		}
		owners[name] = sc.JobName
		r := newReader(sc.RelabelConfigs)
		jobs = append(jobs, Job{
			Config:          sc,
			Discovery:       sc.ServiceDiscoveryConfigs,
			TargetFile:      filepath.Join(dir, name),
			ReadsLabel:      r.reads,
			ReadsSelf:       r.reads(nodeLabel) || r.reads(zoneLabel),
			RestoreFilepath: r.reads(filepathLabel),
		})
	}
	return jobs, nil
}
