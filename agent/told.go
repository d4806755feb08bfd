package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/uploader"
	"github.com/ringside-project/ringside/uploader/head"
)

const (
	askInterval = 15 * time.Second // between two looks at how Prometheus runs
	// blocksAge is how long the list of blocks counts: Prometheus may be another by
	// then, and what was flushed meanwhile is not in the list.
	blocksAge = time.Minute
	// silence is how long a Prometheus that never answered is waited for before
	// the source is taken for what it ran with.
	silence = 2 * time.Minute
)

// told is what Prometheus says of how it runs. Environment variables in its
// external labels are its own, not this program's: only it knows their values.
type told struct {
	client  *http.Client
	url     string
	source  string // the prometheus.yml that people write
	dataDir string
	replica labels.Label
	ready   func() bool // it is worth asking
	logger  log.Logger
	start   time.Time

	now  atomic.Pointer[telling]   // the last answer; nil: none yet
	has  atomic.Pointer[blockList] // of the last answer that told; nil: none
	gone atomic.Bool               // it is not going to answer
}

// telling is one answer. Nobody changes it.
type telling struct {
	external   labels.Labels
	outOfOrder time.Duration     // storage.tsdb.out_of_order_time_window
	flags      map[string]string // of its command line
	locked     bool              // its data directory, as it says that it does
}

// blockList is which blocks Prometheus has. Nobody changes it.
type blockList struct {
	at  time.Time
	ids map[string]bool
}

func newTold(cfg *config.Config, ready func() bool, logger log.Logger) (*told, error) {
	client, err := commoncfg.NewClientFromConfig(cfg.Prometheus.HTTPConfig, "ringside", commoncfg.WithUserAgent("ringside"))
	if err != nil {
		return nil, fmt.Errorf("prometheus.http_config: %w", err)
	}
	return &told{
		client: client, url: strings.TrimRight(cfg.Prometheus.URL, "/"), source: cfg.Prometheus.ConfigFile, dataDir: cfg.Prometheus.DataDir,
		replica: labels.Label{Name: cfg.ReplicaLabel, Value: cfg.Cluster.Node},
		ready:   ready, logger: logger, start: time.Now(),
	}, nil
}

// run asks until ctx ends.
func (t *told) run(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	said := ""
	for {
		if t.ready() {
			why := ""
			if err := t.ask(ctx); err != nil {
				why = err.Error()
			}
			if why != "" && why != said && ctx.Err() == nil {
				level.Warn(t.logger).Log("msg", "prometheus does not tell how it runs", "err", why)
			}
			said = why
		}
		wait := askInterval
		if t.now.Load() == nil {
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (t *told) ask(ctx context.Context) error {
	var loaded struct{ YAML string }
	if err := t.data(ctx, "/api/v1/status/config", &loaded); err != nil {
		return err
	}
	next := &telling{}
	if err := next.parse(loaded.YAML); err != nil {
		return err
	}
	if err := t.data(ctx, "/api/v1/status/flags", &next.flags); err != nil {
		return err
	}
	next.locked = next.flags["storage.tsdb.no-lockfile"] != "true" && !head.Free(t.dataDir)
	t.askBlocks(ctx)
	t.now.Store(next)
	return nil
}

// askBlocks asks for what is as young as Prometheus 3.6: an error is no trouble.
func (t *told) askBlocks(ctx context.Context) {
	var has struct {
		Blocks []struct{ ULID string }
	}
	at := time.Now()
	if t.data(ctx, "/api/v1/status/tsdb/blocks", &has) != nil {
		return
	}
	ids := map[string]bool{}
	for _, b := range has.Blocks {
		ids[b.ULID] = true
	}
	t.has.Store(&blockList{at: at, ids: ids})
}

// parse reads the few fields that matter here.
func (a *telling) parse(text string) error {
	var c struct {
		Global struct {
			ExternalLabels map[string]string `yaml:"external_labels"`
		} `yaml:"global"`
		Storage struct {
			TSDB struct {
				OutOfOrder model.Duration `yaml:"out_of_order_time_window"`
			} `yaml:"tsdb"`
		} `yaml:"storage"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("read prometheus.yml: %w", err)
	}
	a.external, a.outOfOrder = labels.FromMap(c.Global.ExternalLabels), time.Duration(c.Storage.TSDB.OutOfOrder)
	return nil
}

func (t *told) data(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask Prometheus for %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask Prometheus for %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&struct{ Data any }{into}); err != nil {
		return fmt.Errorf("read Prometheus's %s: %w", path, err)
	}
	return nil
}

// labels are those under which blocks go to the bucket: the external labels,
// the replica label among them.
func (t *told) labels() (labels.Labels, error) {
	a := t.now.Load()
	switch {
	case a != nil && a.external.Get(t.replica.Name) != t.replica.Value:
		return labels.EmptyLabels(), fmt.Errorf("prometheus runs without the external label %s=%q; start it with --config.file=<prometheus.generated_config_file>", t.replica.Name, t.replica.Value)
	case a != nil:
		return a.external, nil
	case !t.gone.Load() && time.Since(t.start) < silence:
		return labels.EmptyLabels(), errors.New("prometheus has not answered yet")
	}
	a, err := t.written()
	if err != nil {
		return labels.EmptyLabels(), err
	}
	return a.external, t.asBefore(a.external)
}

// asBefore wants labels that only the source tells to be those under which blocks
// of the data directory went to the bucket last: by default the replica label's
// value is the name of the host, and this may be another one.
func (t *told) asBefore(external labels.Labels) error {
	kept, err := uploader.KeptLabels(t.dataDir)
	if err != nil {
		return fmt.Errorf("read the labels of before: %w", err)
	}
	if kept.IsEmpty() || labels.Equal(kept, external) {
		return nil
	}
	mend := "global.external_labels in " + t.source
	if was := kept.Get(t.replica.Name); was != "" && was != t.replica.Value {
		mend = fmt.Sprintf("cluster.node: %s in ringside.yml", was)
	}
	return &otherLabels{fmt.Sprintf("what is in %s was uploaded under %s, and would be under %s now: set %s; or, if the new ones are right, remove %s/ringside/labels.json",
		t.dataDir, kept, external, mend, t.dataDir)}
}

// otherLabels is the error for labels that are not those of before.
type otherLabels struct{ text string }

func (e *otherLabels) Error() string { return e.text }

// written is what the source says, as this program understands it.
func (t *told) written() (*telling, error) {
	text, err := os.ReadFile(t.source)
	if err != nil {
		return nil, err
	}
	a := &telling{}
	if err := a.parse(string(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.source, err)
	}
	b := labels.NewBuilder(a.external)
	unset := ""
	a.external.Range(func(l labels.Label) {
		b.Set(l.Name, os.Expand(l.Value, func(name string) string {
			value, set := os.LookupEnv(name)
			if name == "$" {
				return name
			}
			if !set {
				unset = name
			}
			return value
		}))
	})
	if unset != "" {
		return nil, fmt.Errorf("%s: external_labels name the environment variable %s, which is not set here; set it as it is for Prometheus", t.source, unset)
	}
	a.external = b.Set(t.replica.Name, t.replica.Value).Labels()
	return a, nil
}

func (t *told) outOfOrderWindow() time.Duration {
	if a := t.now.Load(); a != nil {
		return a.outOfOrder
	}
	if a, err := t.written(); err == nil {
		return a.outOfOrder
	}
	return 0
}

func (t *told) flags() map[string]string {
	if a := t.now.Load(); a != nil {
		return a.flags
	}
	return nil
}

// locked tells whether Prometheus was seen to lock its data directory.
func (t *told) locked() bool {
	a := t.now.Load()
	return a != nil && a.locked
}

// blocks are those that it has; nil: it does not tell, or has not for a while.
func (t *told) blocks() map[string]bool {
	if has := t.has.Load(); has != nil && time.Since(has.at) < blocksAge {
		return has.ids
	}
	return nil
}
