package scrape

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// server is the HTTP API of the Prometheus beside this sidecar.
type server struct {
	url    string // without a slash at its end
	client *http.Client
	marker string       // in the generated configuration, and in no other
	flush  atomic.Int64 // Prometheus's --storage.remote.flush-deadline, a time.Duration; 0: not known
}

func newServer(cfg Prometheus, marker string) (*server, error) {
	client, err := config.NewClientFromConfig(cfg.HTTPConfig, "ringside", config.WithUserAgent("ringside"))
	if err != nil {
		return nil, fmt.Errorf("prometheus.http_config: %w", err)
	}
	return &server{url: strings.TrimRight(cfg.URL, "/"), client: client, marker: marker}, nil
}

// answer is what came back, its body up to 64 MiB.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *server) do(ctx context.Context, method, path string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return answer{resp.StatusCode, resp.Header, body}, err
}

func (s *server) ready(ctx context.Context) bool {
	a, err := s.readiness(ctx)
	return err == nil && a.status == http.StatusOK
}

// stopping tells whether Prometheus says that it is shutting down.
func (s *server) stopping(ctx context.Context) bool {
	a, err := s.readiness(ctx)
	return err == nil && a.header.Get("X-Prometheus-Stopping") == "true"
}

func (s *server) readiness(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*probeInterval)
	defer cancel()
	return s.do(ctx, http.MethodGet, "/-/ready")
}

var errLifecycleOff = errors.New("Prometheus runs without --web.enable-lifecycle")

// reload makes Prometheus load its configuration, and gives its own words if
// it refuses. errLifecycleOff: it cannot be told, and may do so by itself.
func (s *server) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := s.do(ctx, http.MethodPost, "/-/reload")
	switch {
	case err != nil:
		return fmt.Errorf("reload Prometheus: %w", err)
	case a.status == http.StatusForbidden, a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed:
		return errLifecycleOff
	case a.status/100 != 2:
		return fmt.Errorf("reload Prometheus: %s (its log says more)", firstLine(a.body))
	}
	return nil
}

// runtimeInfo is the part of /api/v1/status/runtimeinfo that tells what
// Prometheus has loaded.
type runtimeInfo struct {
	StartTime           time.Time `json:"startTime"` // to the nanosecond
	ReloadConfigSuccess bool      `json:"reloadConfigSuccess"`
	LastConfigTime      time.Time `json:"lastConfigTime"` // in whole seconds
}

func (s *server) info(ctx context.Context) (info runtimeInfo, err error) {
	err = s.data(ctx, "/api/v1/status/runtimeinfo", &info)
	return info, err
}

// askFlags notes how Prometheus was started, as far as it matters here.
func (s *server) askFlags(ctx context.Context) error {
	var flags map[string]string
	if err := s.data(ctx, "/api/v1/status/flags", &flags); err != nil {
		return err
	}
	deadline, err := model.ParseDuration(flags["storage.remote.flush-deadline"])
	if err != nil {
		return fmt.Errorf("read Prometheus's --storage.remote.flush-deadline: %w", err)
	}
	s.flush.Store(int64(deadline))
	return nil
}

// data decodes what Prometheus says of itself at path.
func (s *server) data(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := s.ask(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &struct{ Data any }{into}); err != nil {
		return fmt.Errorf("read Prometheus's %s: %w", path, err)
	}
	return nil
}

// runsGenerated is nil if Prometheus runs with a configuration that we
// generated, be it an older one, and says what to do otherwise.
func (s *server) runsGenerated(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := s.ask(ctx, "/api/v1/status/config")
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(s.marker)) {
		return errors.New("it runs with another configuration; start it with --config.file=<prometheus.generated_config_file>")
	}
	return nil
}

// ask gets what Prometheus says of itself at path.
func (s *server) ask(ctx context.Context, path string) ([]byte, error) {
	a, err := s.do(ctx, http.MethodGet, path)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus for %s: %w", path, err)
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("ask Prometheus for %s: %s", path, firstLine(a.body))
	}
	return a.body, nil
}

func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return line
}

// generation is a state of the files that Prometheus loads: the generated
// configuration and the rule files.
type generation struct {
	number  int
	written time.Time // the newest of the files
}

// health is what was last seen of Prometheus.
type health struct {
	ready  bool
	since  time.Time // when ready last changed
	loaded int       // number of the generation that Prometheus runs with; 0: not known
	err    string    // why it does not run with the newest one
}

// supervisor watches over the Prometheus beside us and tells it to reload
// until it runs with the newest generation.
type supervisor struct {
	server *server
	logger log.Logger
	wanted <-chan generation // newest wins
	out    chan health       // newest wins

	want    generation
	now     health
	retryAt time.Time
	started time.Time // Prometheus was; zero: not known
	lookAt  time.Time // to see whether it still is that Prometheus
	asked   time.Time // started, of the Prometheus whose flags are known
}

// run probes until ctx ends. Loading can take Prometheus long, or for ever if
// it hangs: it goes on beside the probes.
func (s *supervisor) run(ctx context.Context) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	attempts := make(chan attempt, 1)
	var seen time.Time // lastConfigTime at the last attempt; zero: none since Prometheus is ready
	loading := false
	for {
		select {
		case <-ctx.Done():
			if loading {
				<-attempts
			}
			return
		case s.want = <-s.wanted:
			s.retryAt = time.Time{}
		case a := <-attempts:
			loading, seen = false, a.seen
			s.tried(ctx, a)
		case <-ticker.C:
		}
		if since := s.now.since; !since.Equal(s.probe(ctx)) {
			seen = time.Time{}
		}
		if s.now.ready && !loading && s.want.number > s.now.loaded && !time.Now().Before(s.retryAt) {
			loading = true
			a := attempt{want: s.want, seen: seen}
			go func() { attempts <- s.server.load(ctx, a) }()
		}
		offer(s.out, s.now)
	}
}

// probe brings s.now up to date, and gives the time since when it is the same
// Prometheus in the same state.
func (s *supervisor) probe(ctx context.Context) time.Time {
	ready := s.server.ready(ctx)
	if ready != s.now.ready || s.now.since.IsZero() {
		s.now.ready, s.now.since, s.now.loaded = ready, time.Now(), 0 // what it will run with when it is back is to be found out
		s.started, s.lookAt = time.Time{}, time.Time{}
		level.Info(s.logger).Log("msg", "prometheus changed", "ready", ready)
	}
	if !ready || time.Now().Before(s.lookAt) {
		return s.now.since
	}
	s.lookAt = time.Now().Add(pollInterval)
	if info, err := s.server.info(ctx); err == nil {
		if !s.started.IsZero() && !info.StartTime.Equal(s.started) {
			s.now.since, s.now.loaded = time.Now(), 0
			level.Info(s.logger).Log("msg", "prometheus was restarted between two looks at it")
		}
		s.started = info.StartTime
		if !s.asked.Equal(s.started) && s.server.askFlags(ctx) == nil {
			s.asked = s.started
		}
	}
	return s.now.since
}

// tried notes how an attempt ended.
func (s *supervisor) tried(ctx context.Context, a attempt) {
	if a.err == nil {
		if s.now.ready {
			s.now.loaded = a.want.number
		}
		s.now.err = ""
		level.Info(s.logger).Log("msg", "prometheus runs with the generated configuration", "generation", a.want.number)
		return
	}
	s.retryAt = time.Now().Add(pollInterval)
	if errors.Is(a.err, errLifecycleOff) {
		s.retryAt = time.Now().Add(time.Second)
	}
	if s.now.err != a.err.Error() && ctx.Err() == nil {
		s.now.err = a.err.Error()
		level.Warn(s.logger).Log("msg", "prometheus does not run with the generated configuration yet", "generation", a.want.number, "err", a.err)
	}
}

// attempt is one try to make Prometheus run with a generation.
type attempt struct {
	want generation
	seen time.Time // lastConfigTime at the attempt before, then at this one
	err  error     // nil: it runs with it
}

// load makes Prometheus run with the generation that is wanted, or finds that
// it does. Prometheus tells the time of its last load in whole seconds: one
// within the second of the writing counts only if it was seen to happen, or
// if Prometheus itself was started after the writing.
func (s *server) load(ctx context.Context, a attempt) attempt {
	info, err := s.info(ctx)
	if err != nil {
		a.err = err
		return a
	}
	written, loaded := a.want.written, info.LastConfigTime
	seen := !a.seen.IsZero() && loaded.After(a.seen) && !loaded.Before(written.Truncate(time.Second))
	a.seen = loaded
	if !info.ReloadConfigSuccess || !seen && !loaded.After(written) && !info.StartTime.After(written) {
		if a.err = s.reload(ctx); a.err != nil {
			if errors.Is(a.err, errLifecycleOff) {
				a.err = fmt.Errorf("%w: waiting for its own reload, which needs --config.auto-reload", a.err)
			}
			return a
		}
		// So that this load is not taken for one of a later generation.
		if info, a.err = s.info(ctx); a.err != nil {
			return a
		}
		a.seen = info.LastConfigTime
	}
	a.err = s.runsGenerated(ctx)
	return a
}

// offer puts v into the one-slot channel, in place of an older one not yet read.
func offer[T any](slot chan T, v T) {
	for {
		select {
		case slot <- v:
			return
		default:
		}
		select {
		case <-slot:
		default:
		}
	}
}
