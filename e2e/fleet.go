package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/template"
	"time"
)

// FleetConfig says what a Fleet is made of.
type FleetConfig struct {
	Dir        string // gets one directory a pair
	Ringside   string // path of the binary
	Prometheus string // path of the binary
	Cluster    string // its name
	Sites      []Site // one a pair
	Peers      int    // how many sites each sidecar lists as peers; 0 for all
	Source     string // the prometheus.yml that people write, the same for all
	SourceFile string // where it is, in a pair's directory; default prometheus.yml
	Scrape     string // more lines of ringside.yml's scrape block, such as "replicas: 2"
	Key        string // gossip key, base64; "" for none
	// Client reaches the sites; nil for one with a time-out of 5 s.
	Client *http.Client
}

// Fleet is a number of pairs that share their targets.
type Fleet struct {
	Pairs  []*Pair
	client *http.Client
}

// Pair is a Prometheus server and its sidecar, in a directory of their own.
type Pair struct {
	Name       string // "pair-0", also the node's name
	Dir        string
	Sidecar    *Unit
	Prometheus *Unit

	source string // path of the source prometheus.yml
	client *http.Client
}

// NewFleet writes the directories of a fleet and starts nothing.
func NewFleet(cfg FleetConfig) (*Fleet, error) {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if cfg.SourceFile == "" {
		cfg.SourceFile = "prometheus.yml"
	}
	f := &Fleet{client: cfg.Client}
	for i := range cfg.Sites {
		p, err := newPair(cfg, i)
		if err != nil {
			return nil, fmt.Errorf("pair %d: %w", i, err)
		}
		f.Pairs = append(f.Pairs, p)
	}
	return f, nil
}

func newPair(cfg FleetConfig, i int) (*Pair, error) {
	site, name := cfg.Sites[i], fmt.Sprintf("pair-%d", i)
	dir := filepath.Join(cfg.Dir, name)
	p := &Pair{
		Name:   name,
		Dir:    dir,
		source: filepath.Join(dir, cfg.SourceFile),
		client: cfg.Client,
		Sidecar: &Unit{
			Name: name + "/ringside", URL: "http://" + site.Ringside, driver: site.Driver,
			Command: Command{
				Path: cfg.Ringside, Dir: dir, Log: filepath.Join(dir, "ringside.log"),
				Args: []string{
					"run", "--config.file=ringside.yml", "--web.enable-lifecycle",
					"--web.listen-address=" + site.Ringside,
				},
			},
		},
		Prometheus: &Unit{
			Name: name + "/prometheus", URL: "http://" + site.Prometheus, driver: site.Driver,
			Command: Command{
				Path: cfg.Prometheus, Dir: dir, Log: filepath.Join(dir, "prometheus.log"),
				Args: []string{
					"--config.file=run/prometheus.yml", "--web.enable-lifecycle",
					"--web.listen-address=" + site.Prometheus,
					"--storage.tsdb.path=data", "--storage.tsdb.retention.time=1d",
				},
			},
		},
	}
	return p, p.writeFiles(cfg, site)
}

var ringsideYAML = template.Must(template.New("ringside.yml").Parse(`cluster:
  name: {{ .Cluster }}
  node: {{ .Node }}
  listen_address: {{ .Site.Gossip }}
  peers: [{{ .Peers }}]
{{- if .Key }}
  key_file: gossip.key
{{- end }}
prometheus:
  url: http://{{ .Site.Prometheus }}
  config_file: {{ .SourceFile }}
relay:
  listen_address: {{ .Site.Relay }}
{{- if .Scrape }}
scrape:
{{ .Scrape }}
{{- end }}
`))

// writeFiles writes what a pair needs before its first start. scraper.txt lets
// a source name each pair to the farm while its text stays the same for all:
// see fileSource.
func (p *Pair) writeFiles(cfg FleetConfig, site Site) error {
	var peers []string
	for _, s := range cfg.Sites {
		peers = append(peers, s.Gossip)
	}
	if cfg.Peers > 0 {
		peers = peers[:cfg.Peers]
	}
	var yml strings.Builder
	err := ringsideYAML.Execute(&yml, map[string]any{
		"Cluster": cfg.Cluster, "Node": p.Name, "Site": site, "Peers": strings.Join(peers, ", "),
		"Key": cfg.Key, "SourceFile": cfg.SourceFile, "Scrape": indent(cfg.Scrape),
	})
	if err != nil {
		return fmt.Errorf("render ringside.yml: %w", err)
	}
	source, err := filepath.Rel(p.Dir, p.source)
	if err != nil {
		return fmt.Errorf("place of the source: %w", err)
	}
	beside := filepath.Join(filepath.Dir(source), "scraper.txt")
	files := map[string]string{"ringside.yml": yml.String(), beside: p.Name, source: cfg.Source}
	if cfg.Key != "" {
		files["gossip.key"] = cfg.Key + "\n"
	}
	for name, text := range files {
		if err := p.WriteFile(name, text); err != nil {
			return err
		}
	}
	return nil
}

func indent(block string) string {
	if block == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n  ")
}

// WriteFile puts text into a file of the pair's directory, in one step for
// whoever reads it.
func (p *Pair) WriteFile(name, text string) error {
	path := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// WriteFile puts text into the same file of every pair.
func (f *Fleet) WriteFile(name, text string) error {
	for _, p := range f.Pairs {
		if err := p.WriteFile(name, text); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// Start starts those programs of the pair that do not run and returns when
// both answer. Prometheus follows once its generated configuration is there, as
// a pod would start it again until then.
func (p *Pair) Start(ctx context.Context) error {
	if !p.Sidecar.Running() {
		if err := p.Sidecar.Start(); err != nil {
			return err
		}
	}
	if err := p.Sidecar.awaitReady(ctx, p.client, "/-/healthy"); err != nil {
		return fmt.Errorf("start %s: %w", p.Sidecar.Name, err)
	}
	if p.Prometheus.Running() {
		return nil
	}
	generated := filepath.Join(p.Dir, "run", "prometheus.yml")
	err := poll(ctx, func() error { _, err := os.Stat(generated); return err })
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Prometheus.Name, err)
	}
	if err := p.Prometheus.Start(); err != nil {
		return err
	}
	if err := p.Prometheus.awaitReady(ctx, p.client, "/-/ready"); err != nil {
		return fmt.Errorf("start %s: %w", p.Prometheus.Name, err)
	}
	return nil
}

// Kill ends both programs as kill -9 does, the sidecar a moment earlier.
func (p *Pair) Kill() {
	var wg sync.WaitGroup
	for _, u := range []*Unit{p.Sidecar, p.Prometheus} {
		wg.Go(u.Kill)
	}
	wg.Wait()
}

// Start starts pairs at the same time and returns when all answer.
func (f *Fleet) Start(ctx context.Context, pairs ...*Pair) error {
	errs := make([]error, len(pairs))
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() { errs[i] = p.Start(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close kills whatever still runs.
func (f *Fleet) Close() {
	var wg sync.WaitGroup
	for _, p := range f.Pairs {
		wg.Go(p.Kill)
	}
	wg.Wait()
}
