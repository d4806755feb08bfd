// Package agent joins the parts of a sidecar: it carries what the gossip knows
// of the cluster to scrape, what scrape says of this member to the gossip, and
// what the relay receives to scrape. It starts and stops them in the right
// order, reloads ringside.yml, and serves HTTP: health, metrics, the status API
// and a page. Who owns which target, and who is alive, the parts decide.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
)

// leaveTimeout bounds the good-bye to the cluster.
const leaveTimeout = 5 * time.Second

// Options are what the command line says.
type Options struct {
	ConfigFile      string // ringside.yml, to be watched and reloaded
	ExpandEnv       bool   // replace ${NAME} in it
	ListenAddress   string // of the HTTP server
	WebConfigFile   string // exporter-toolkit's, for TLS and basic auth; empty: neither
	EnableLifecycle bool   // serve /-/drain and /-/quit
	EnablePprof     bool   // serve /debug/pprof/
}

// Agent is a sidecar whose ports are bound.
type Agent struct {
	logger   log.Logger
	zone     string
	gossip   *gossip.Cluster
	scrape   *scrape.Scrape
	relay    *relay.Relay
	web      *server
	reloader *reloader
	tracing  *tracing
	outlives outliving
	uploads  *uploads
	peers    *peers

	quit context.Context // ends when somebody asks over HTTP for the end

	snapshot atomic.Pointer[gossip.Snapshot] // the newest; never nil
}

// New validates everything that cfg and opts name and binds the ports. Its
// metrics, and those of all parts, go to reg, which it serves at /metrics.
func New(cfg *config.Config, opts Options, logger log.Logger, reg *prometheus.Registry) (*Agent, error) {
	for _, w := range cfg.Warnings() {
		level.Warn(logger).Log("msg", w)
	}
	a := &Agent{logger: logger, zone: cfg.Cluster.Zone}
	a.snapshot.Store(&gossip.Snapshot{Self: cfg.Cluster.Node})
	var err error
	if a.web, err = listen(opts, logger); err != nil {
		return nil, err
	}
	if err := a.newParts(cfg, logger, reg); err != nil {
		a.web.listener.Close()
		a.tracing.stop()
		return nil, err
	}
	a.reloader = newReloader(cfg, opts, a.scrape, logger)
	state := &state{cluster: cfg.Cluster.Name, scrape: a.scrape, snapshot: a.snapshot.Load, config: a.reloader.status}
	registerMetrics(reg, state)
	secured := webConfig{opts.WebConfigFile}
	a.peers = newPeers(state, secured.tls)
	quit, end := context.WithCancel(context.Background())
	a.quit = quit
	a.web.serve(&handlers{
		state:     state,
		drainer:   a.scrape,
		reload:    a.reloader.reload,
		quit:      end,
		relay:     a.relay.Status,
		uploads:   a.uploads.Status,
		peers:     a.peers,
		web:       secured,
		gatherer:  reg,
		lifecycle: opts.EnableLifecycle,
		pprof:     opts.EnablePprof,
		logger:    logger,
	})
	return a, nil
}

func (a *Agent) newParts(cfg *config.Config, logger log.Logger, reg prometheus.Registerer) error {
	var err error
	if a.tracing, err = newTracing(cfg.Tracing, cfg.Cluster.Node, logger); err != nil {
		return err
	}
	if a.relay, err = relay.New(cfg.Relay, relay.Options{
		Feedback:     a.observe,
		HandedOver:   func(lset labels.Labels) bool { return a.scrape.HandedOver(lset) },
		ReplicaLabel: cfg.ReplicaLabel,
		Node:         cfg.Cluster.Node,
		Tracer:       a.tracing.provider(),
	}, log.With(logger, "component", "relay"), reg); err != nil {
		return err
	}
	scfg := scrapeConfig(cfg, a.relay.Addr().String())
	if a.scrape, err = scrape.New(scfg, log.With(logger, "component", "scrape"), reg); err != nil {
		return err
	}
	a.outlives = outliving{
		url: cfg.Prometheus.URL, dataDir: cfg.Prometheus.DataDir, wait: time.Duration(cfg.Uploader.ShutdownWait),
		stopping: a.scrape.Stopping, upstreams: scfg.RelayURL != "", logger: logger,
	}
	if a.uploads, err = a.newUploads(cfg, log.With(logger, "component", "uploader"), reg); err != nil {
		return err
	}
	a.outlives.locked = a.uploads.told.locked
	if a.outlives.upstreams || a.uploads.flushes {
		a.outlives.flush = a.scrape.FlushTime
	}
	// Last: as soon as the gossip is bound, others may hear of this member.
	a.gossip, err = gossip.New(cfg.Cluster, log.With(logger, "component", "gossip"), reg)
	return err
}

// scrapeConfig composes what scrape is to know of a sidecar whose relay listens
// at listen. Prometheus sends its samples there only if there is an upstream.
func scrapeConfig(cfg *config.Config, listen string) scrape.Config {
	c := scrape.Config{
		Node:         cfg.Cluster.Node,
		Zone:         cfg.Cluster.Zone,
		ReplicaLabel: cfg.ReplicaLabel,
		Version:      version.Version,
		MinMembers:   cfg.Cluster.MinMembers,
		FeedbackURL:  relayURL(listen, "/api/v1/feedback"),
		Prometheus:   cfg.Prometheus,
		Sharding:     cfg.Scrape,
	}
	for _, u := range cfg.Relay.Upstreams {
		c.RelayURL = relayURL(listen, "/api/v1/write")
		if u.ProtobufMessage == messageV2 {
			c.RelayMessage = messageV2
		}
	}
	return c
}

// messageV2 is what Prometheus is to send once an upstream is to get it: what
// it sends otherwise, 1.0, has less in it.
const messageV2 = "io.prometheus.write.v2.Request"

// relayURL is where the Prometheus beside this sidecar reaches a relay that
// listens on listen: one that listens everywhere, on loopback.
func relayURL(listen, path string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // on [::] too: Go listens there for both families
	}
	return "http://" + net.JoinHostPort(host, port) + path
}

// Addr is the address of the HTTP server.
func (a *Agent) Addr() net.Addr { return a.web.listener.Addr() }

// RequestReload asks for a reload of ringside.yml and of the source
// prometheus.yml; it does not wait for it.
func (a *Agent) RequestReload() { a.reloader.request() }

// Run runs all parts until one of them fails, or until ctx ends or somebody asks for
// the end over HTTP: then it hands over the targets, says good-bye to the cluster, and stops. It returns nil if
// nothing was left behind, and what was otherwise. It can be called once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.tracing.stop()
	var g run.Group
	stop, cancel := context.WithCancel(context.Background())
	var behind error
	g.Add(func() error {
		select {
		case <-stop.Done():
		case <-ctx.Done():
			behind = a.leave(stop)
		case <-a.quit.Done():
			behind = a.leave(stop)
		}
		return nil
	}, func(error) { cancel() })
	for _, part := range []struct {
		step string
		run  func(context.Context) error
	}{
		{"join the parts", a.carry},
		{"run gossip", a.gossip.Run},
		{"run scrape", a.scrape.Run},
		{"run relay", a.relay.Run},
		{"run uploader", a.uploads.run},
		{"ask prometheus", a.uploads.told.run},
		{"ask the other members", a.peers.run},
		{"watch ringside.yml", a.reloader.run},
		{"serve HTTP", a.serve},
	} {
		g.Add(func() error {
			err := part.run(stop)
			if err == nil && stop.Err() == nil {
				err = errors.New("it ended by itself")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", part.step, err)
			}
			return err
		}, func(error) { cancel() })
	}
	if err := g.Run(); err != nil {
		return err
	}
	return behind
}

// serve answers once there is what Prometheus starts with: whoever starts it may
// wait for /-/healthy.
func (a *Agent) serve(ctx context.Context) error {
	select {
	case <-a.scrape.Begun():
	case <-ctx.Done():
	}
	return a.web.run(ctx)
}

// leave hands the targets over and says good-bye, so that heirs adopt at once
// what could not be handed over. The HTTP server goes on meanwhile.
func (a *Agent) leave(stop context.Context) error {
	timeout := drainTimeout(a.scrape)
	level.Info(a.logger).Log("msg", "handing targets over", "timeout", timeout)
	ctx, cancel := context.WithTimeout(stop, timeout)
	defer cancel()
	start := time.Now()
	report, err := a.scrape.Drain(ctx)
	behind := leftBehind(report, err)
	level.Info(a.logger).Log("msg", "hand-over ended", "targets", report.Targets, "unconfirmed", len(report.Unconfirmed),
		"alone", report.Alone, "prometheus_gone", report.PrometheusGone, "took", time.Since(start).Round(time.Millisecond))
	a.uploads.unique.leave(stop)
	if err := a.gossip.Leave(leaveTimeout); err != nil {
		level.Warn(a.logger).Log("msg", "good-bye not heard: the others will notice within seconds", "err", err)
	}
	return errors.Join(behind, a.outlive(stop))
}

// outlive goes on taking what Prometheus sends while it stops, and carries to
// the bucket what it has left as soon as that is complete. Only after both the
// relay is told to finish.
func (a *Agent) outlive(stop context.Context) error {
	level.Info(a.logger).Log("msg", "waiting for prometheus to go", "shutdown_wait", a.outlives.wait)
	going := a.outlives.begin()
	if !going.closed(stop) {
		level.Info(a.logger).Log("msg", "prometheus goes on without this sidecar")
		if a.uploads.flushes {
			return fmt.Errorf("upload: Prometheus has not gone within %s: its head is not in the bucket", going.allowed())
		}
		return nil
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		if !going.gone(stop) {
			level.Info(a.logger).Log("msg", "prometheus is not waited for any longer")
		}
	}()
	err := a.uploads.finish(stop)
	<-taken
	return err
}

// drainTimeout is how long a hand-over may take unless told otherwise.
func drainTimeout(d drainer) time.Duration { return 2*d.LongestInterval() + 30*time.Second }

// leftBehind says which targets nobody was seen to take over, where somebody
// was there to take them. That Prometheus has gone is no failure: nothing is
// scraped any more that could be handed over.
func leftBehind(report scrape.DrainReport, err error) error {
	if report.Alone || report.PrometheusGone || (err == nil && len(report.Unconfirmed) == 0) {
		return nil
	}
	few := report.Unconfirmed[:min(3, len(report.Unconfirmed))]
	behind := fmt.Errorf("hand over: %d of %d targets were not seen to be taken over: %s", len(report.Unconfirmed), report.Targets, strings.Join(few, ", "))
	if len(few) < len(report.Unconfirmed) {
		behind = fmt.Errorf("%w, …", behind)
	}
	if err != nil && !errors.Is(err, scrape.ErrUnconfirmed) {
		behind = fmt.Errorf("%w: %w", behind, err)
	}
	return behind
}
