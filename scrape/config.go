package scrape

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Config is all that New needs to know.
type Config struct {
	Node         string // this member's name: the replica label's value
	Zone         string // this member's zone; may be empty
	ReplicaLabel string // external label that names the member
	Version      string // of this program, for the generated file's heading
	MinMembers   int    // alive members below which nothing is adopted or released
	FeedbackURL  string // where Prometheus remote-writes what it scrapes
	RelayURL     string // where Prometheus remote-writes its samples; empty: nowhere
	RelayMessage string // the protobuf_message in which; empty: Prometheus's default

	Prometheus Prometheus
	Sharding   Sharding
}

// Prometheus is the prometheus: block of ringside.yml.
type Prometheus struct {
	URL                 string                  `yaml:"url"`                   // of the Prometheus beside this sidecar
	ConfigFile          string                  `yaml:"config_file"`           // the source, the one people write
	GeneratedConfigFile string                  `yaml:"generated_config_file"` // the one Prometheus runs with
	TargetsDir          string                  `yaml:"targets_dir"`           // one file_sd file per job
	DataDir             string                  `yaml:"data_dir"`              // Prometheus's --storage.tsdb.path
	HTTPConfig          config.HTTPClientConfig `yaml:"http_config"`           // how to talk to URL
}

// DefaultPrometheus holds the values of fields that the user leaves out.
var DefaultPrometheus = Prometheus{
	URL:                 "http://127.0.0.1:9090",
	ConfigFile:          "prometheus.yml",
	GeneratedConfigFile: "run/prometheus.yml",
	TargetsDir:          "run/targets",
	DataDir:             "data",
	HTTPConfig:          config.DefaultHTTPClientConfig,
}

// UnmarshalYAML fills in the defaults.
func (p *Prometheus) UnmarshalYAML(unmarshal func(any) error) error {
	*p = DefaultPrometheus
	type plain Prometheus
	return unmarshal((*plain)(p))
}

// Validate says which field is wrong and what to write instead.
func (p *Prometheus) Validate() error {
	u, err := url.Parse(p.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("prometheus.url: not a URL such as http://127.0.0.1:9090")
	}
	if u.User != nil {
		return errors.New("prometheus.url: holds a user name or password; give them in prometheus.http_config.basic_auth")
	}
	for _, f := range []struct{ name, value string }{
		{"config_file", p.ConfigFile},
		{"generated_config_file", p.GeneratedConfigFile},
		{"targets_dir", p.TargetsDir},
		{"data_dir", p.DataDir},
	} {
		if f.value == "" {
			return fmt.Errorf("prometheus.%s: empty; give a path, or leave the field out for its default", f.name)
		}
	}
	if filepath.Clean(p.ConfigFile) == filepath.Clean(p.GeneratedConfigFile) {
		return fmt.Errorf("prometheus.generated_config_file: %s is config_file itself, which Ringside never writes; name another file", p.GeneratedConfigFile)
	}
	if err := p.HTTPConfig.Validate(); err != nil {
		return fmt.Errorf("prometheus.http_config: %w", err)
	}
	return nil
}

// SetDirectory makes relative paths start at dir.
func (p *Prometheus) SetDirectory(dir string) {
	for _, path := range []*string{&p.ConfigFile, &p.GeneratedConfigFile, &p.TargetsDir, &p.DataDir} {
		*path = config.JoinDir(dir, *path)
	}
	p.HTTPConfig.SetDirectory(dir)
}

// Sharding is the scrape: block of ringside.yml.
type Sharding struct {
	Replicas       int           `yaml:"replicas"`        // members that scrape each target
	CapacitySeries int64         `yaml:"capacity_series"` // what this member can hold; 0: not said
	Jobs           []JobSharding `yaml:"jobs"`            // what differs from job to job
}

// JobSharding is one entry of scrape.jobs.
type JobSharding struct {
	Job        string   `yaml:"job"`        // job_name in the source
	ShardBy    []string `yaml:"shard_by"`   // labels after relabelling: equal values, same member
	Everywhere bool     `yaml:"everywhere"` // every member scrapes all of the job
	Replicas   int      `yaml:"replicas"`   // 0: as for all jobs
}

// MaxReplicas bounds how many members scrape one target: the memory that a target
// takes grows with it.
const MaxReplicas = 100

// DefaultSharding holds the values of fields that the user leaves out.
var DefaultSharding = Sharding{Replicas: 1}

// UnmarshalYAML fills in the defaults.
func (s *Sharding) UnmarshalYAML(unmarshal func(any) error) error {
	*s = DefaultSharding
	type plain Sharding
	return unmarshal((*plain)(s))
}

// Validate says which field is wrong and what to write instead.
func (s *Sharding) Validate() error {
	if s.Replicas < 1 {
		return fmt.Errorf("scrape.replicas: %d; at least 1 member must scrape each target", s.Replicas)
	}
	if s.Replicas > MaxReplicas {
		return fmt.Errorf("scrape.replicas: %d; give %d at most; where every member is to scrape all of a job, write everywhere: true for it in scrape.jobs", s.Replicas, MaxReplicas)
	}
	if s.CapacitySeries < 0 {
		return fmt.Errorf("scrape.capacity_series: %d; give a number of series, or 0 to give none", s.CapacitySeries)
	}
	seen := map[string]bool{}
	for i, j := range s.Jobs {
		where := fmt.Sprintf("scrape.jobs[%d]", i)
		switch {
		case j.Job == "":
			return fmt.Errorf("%s.job: missing; give a job_name of the source prometheus.yml", where)
		case seen[j.Job]:
			return fmt.Errorf("%s.job: %q has an entry already; merge the two", where, j.Job)
		case j.Replicas < 0:
			return fmt.Errorf("%s.replicas: %d; give 1 or more, or leave it out", where, j.Replicas)
		case j.Replicas > MaxReplicas:
			return fmt.Errorf("%s.replicas: %d; give %d at most, or everywhere: true instead", where, j.Replicas, MaxReplicas)
		case j.Everywhere && (len(j.ShardBy) > 0 || j.Replicas > 0):
			return fmt.Errorf("%s: everywhere goes without shard_by and replicas, since every member scrapes all of %q", where, j.Job)
		}
		for _, name := range j.ShardBy {
			if !model.UTF8Validation.IsValidLabelName(name) {
				return fmt.Errorf("%s.shard_by: %q is not a label name", where, name)
			}
			if strings.HasPrefix(name, model.MetaLabelPrefix) {
				return fmt.Errorf("%s.shard_by: %s is gone after relabelling; copy it to a label of its own, or to %s, with a relabel rule", where, name, hashLabel)
			}
		}
		seen[j.Job] = true
	}
	return nil
}

// job returns the options in force for the job of that name.
func (s Sharding) job(name string) JobSharding {
	opts := JobSharding{Job: name}
	if i := slices.IndexFunc(s.Jobs, func(j JobSharding) bool { return j.Job == name }); i >= 0 {
		opts = s.Jobs[i]
	}
	if opts.Replicas == 0 {
		opts.Replicas = s.Replicas
	}
	return opts
}

func (c *Config) validate() error {
	if c.Node == "" {
		return errors.New("a member needs a name")
	}
	if err := c.Prometheus.Validate(); err != nil {
		return err
	}
	return c.Sharding.Validate()
}

// What the engine waits for, and how long.
const (
	unreadyAfter  = 3 * time.Second        // Prometheus not ready for so long: heirs adopt (DESIGN of the hand-over)
	probeInterval = 500 * time.Millisecond // between two looks at Prometheus's readiness
	settleView    = 2 * time.Second        // a view must be that old before a target is released: gossip is on its way
	syncTimeout   = 30 * time.Second       // a job whose discovery is silent so long holds nobody in joining
	quietAfter    = time.Second            // a discovery that sends in many parts is complete when silent so long
	completeAfter = 5 * time.Second        // or so long after its first part, if it is never silent
	writeTime     = time.Second            // without another event until a file counts as written
	pollInterval  = 5 * time.Second        // between two looks at the source, and between two tries of what was refused
	defaultFlush  = time.Minute            // Prometheus's --storage.remote.flush-deadline, as long as it has not said
)
