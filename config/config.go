// Package config loads, defaults and validates ringside.yml. Each part's own
// block is declared and checked by the part itself; this package composes
// them, finds the line that an error is about, checks what concerns two parts
// at once, and renders a configuration without its secrets.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	prometheus "github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
	"github.com/ringside-project/ringside/uploader"
)

// Config is ringside.yml.
type Config struct {
	Cluster      gossip.Config     `yaml:"cluster"`
	Prometheus   scrape.Prometheus `yaml:"prometheus"`
	ReplicaLabel string            `yaml:"replica_label"` // external label whose value is the member's name
	Scrape       scrape.Sharding   `yaml:"scrape"`
	Relay        relay.Config      `yaml:"relay"`
	Uploader     uploader.Config   `yaml:"uploader"`

	Tracing *prometheus.TracingConfig `yaml:"tracing,omitempty"` // as in prometheus.yml; nil: no traces
}

// Default holds the values of blocks and fields that the user leaves out.
var Default = Config{
	Cluster:      gossip.DefaultConfig,
	Prometheus:   scrape.DefaultPrometheus,
	ReplicaLabel: "prometheus_replica",
	Scrape:       scrape.DefaultSharding,
	Relay:        relay.DefaultConfig,
	Uploader:     uploader.DefaultConfig,
}

// Load reads the file at path, with ${NAME} replaced from the environment when
// expandEnv is set. Relative paths in it start at the file's directory. An
// error says file:line wherever there is a line, and what to write instead;
// there may be several, one a line.
func Load(path string, expandEnv bool) (*Config, error) {
	text, doc, err := read(path, expandEnv)
	if err != nil {
		return nil, err
	}
	c := Default
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, at(path, doc.explain(err))
	}
	if err := doc.fractions(); err != nil {
		return nil, at(path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the directory of %s: %w", path, err)
	}
	c.setDirectory(dir)
	if err := c.validate(path); err != nil {
		return nil, at(path, doc.locate(err))
	}
	return &c, nil
}

// read gives the text of the file at path, and its tree.
func read(path string, expandEnv bool) (string, *document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read configuration: %w", err)
	}
	text := string(raw)
	if expandEnv {
		if text, err = expand(text, os.LookupEnv); err != nil {
			return "", nil, fmt.Errorf("%s:%w", path, err)
		}
	}
	doc, err := parse(text)
	if err != nil {
		return "", nil, at(path, err)
	}
	return text, doc, nil
}

// Locate gives an error that begins with the name of a field the file and the
// line of that field, as Load's errors have them; of joined errors, each that
// does. path and expandEnv are as they were for Load.
func Locate(path string, expandEnv bool, err error) error {
	if err == nil {
		return nil
	}
	_, doc, bad := read(path, expandEnv)
	if bad != nil {
		doc = &document{} // it has changed since it was loaded: its lines are not known
	}
	var all []error
	for _, e := range joined(err) {
		if name := fieldPath.FindString(e.Error()); name != "" && yamlfile.At(reflect.TypeFor[Config](), name) != nil {
			e = at(path, doc.locate(e))
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

func (c *Config) setDirectory(dir string) {
	c.Cluster.SetDirectory(dir)
	c.Prometheus.SetDirectory(dir)
	c.Relay.SetDirectory(dir)
	c.Uploader.SetDirectory(dir)
	if c.Tracing != nil {
		c.Tracing.SetDirectory(dir)
	}
}

// labelName is a label name that every receiver takes; two leading underscores are Prometheus's own.
var labelName = regexp.MustCompile(`^(_?[a-zA-Z][a-zA-Z0-9_]*)$`)

func (c *Config) validate(path string) error {
	for _, part := range []interface{ Validate() error }{&c.Cluster, &c.Prometheus, &c.Scrape, &c.Relay, &c.Uploader} {
		if err := part.Validate(); err != nil {
			return err
		}
	}
	if !labelName.MatchString(c.ReplicaLabel) {
		return fmt.Errorf("replica_label: %q is not a label name; use letters, digits and underscores, such as prometheus_replica", c.ReplicaLabel)
	}
	if err := c.validateTracing(); err != nil {
		return err
	}
	if _, again := c.Relay.Labels[c.ReplicaLabel]; again {
		return fmt.Errorf("relay.labels: %s is the replica_label, whose value is cluster.node; leave it out", c.ReplicaLabel)
	}
	if addr := c.Relay.ListenAddress; addr == c.Cluster.ListenAddress && !strings.HasSuffix(addr, ":0") {
		return fmt.Errorf("relay.listen_address: %s is cluster.listen_address too; give it another port", c.Relay.ListenAddress)
	}
	return c.validatePaths(path)
}

// validateTracing checks what Prometheus leaves to the first trace.
func (c *Config) validateTracing() error {
	t := c.Tracing
	if t == nil {
		return nil
	}
	if strings.Contains(t.Endpoint, "://") || strings.Contains(t.Endpoint, "@") {
		return errors.New("tracing.endpoint: not host:port, such as collector:4317; without a scheme, and without credentials")
	}
	if t.SamplingFraction < 0 || t.SamplingFraction > 1 {
		return fmt.Errorf("tracing.sampling_fraction: %v; give a number from 0, for only what the sender samples, to 1, for all", t.SamplingFraction)
	}
	if err := t.TLSConfig.Validate(); err != nil {
		return fmt.Errorf("tracing.tls_config: %w", err)
	}
	return nil
}

// validatePaths sees to it that nothing Ringside writes lies where something else does.
func (c *Config) validatePaths(path string) error {
	p := &c.Prometheus
	own, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find %s: %w", path, err)
	}
	switch {
	case same(p.ConfigFile, own):
		return fmt.Errorf("prometheus.config_file: %s is Ringside's own configuration; name the prometheus.yml that people write", p.ConfigFile)
	case same(p.GeneratedConfigFile, own):
		return fmt.Errorf("prometheus.generated_config_file: %s is Ringside's own configuration; name a file that may be overwritten", p.GeneratedConfigFile)
	case same(p.GeneratedConfigFile, p.ConfigFile):
		return fmt.Errorf("prometheus.generated_config_file: %s is config_file by another name; name a file that may be overwritten", p.GeneratedConfigFile)
	case within(p.TargetsDir, p.DataDir):
		return fmt.Errorf("prometheus.targets_dir: %s lies in data_dir, which is Prometheus's; give it a directory of its own", p.TargetsDir)
	case within(p.GeneratedConfigFile, p.DataDir):
		return fmt.Errorf("prometheus.generated_config_file: %s lies in data_dir, which is Prometheus's; put it elsewhere", p.GeneratedConfigFile)
	case within(p.ConfigFile, p.TargetsDir), within(p.GeneratedConfigFile, p.TargetsDir), within(p.DataDir, p.TargetsDir):
		return fmt.Errorf("prometheus.targets_dir: %s holds more than target files; give it a directory of its own", p.TargetsDir)
	}
	return nil
}

// same tells whether two absolute paths name one file, links followed where the file exists.
func same(a, b string) bool {
	return resolved(a) == resolved(b)
}

// within tells whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// Warnings names what is well-formed, but hardly what is wanted.
func (c *Config) Warnings() []string {
	var warnings []string
	for i, u := range c.Relay.Upstreams {
		if u.ReplicaLabel == "drop" && c.mostReplicas() > 1 {
			warnings = append(warnings, fmt.Sprintf("relay.upstreams[%d].replica_label: drop, and %d members scrape each of some targets: "+
				"%q gets the samples of them all as one series; keep the label, or let one member scrape each target", i, c.mostReplicas(), u.Name))
		}
	}
	return warnings
}

// mostReplicas is how many members scrape a target, at most; jobs that are
// scraped everywhere do not count.
func (c *Config) mostReplicas() int {
	most := c.Scrape.Replicas
	for _, j := range c.Scrape.Jobs {
		most = max(most, j.Replicas)
	}
	return most
}

// NeedsRestart names the blocks in which next differs from c and which take
// effect only at the next start; scrape is not among them.
func (c *Config) NeedsRestart(next *Config) []string {
	var names []string
	a, b := reflect.ValueOf(*c), reflect.ValueOf(*next)
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
		if name != "scrape" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return names
}
