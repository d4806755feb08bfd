// Package relay receives what the Prometheus beside it remote-writes, and
// passes it on to one or many receivers, with the replica label in it. An
// answer is given only once every required upstream has given its own, so that
// Prometheus's WAL is the queue: nothing acknowledged is lost, whoever dies.
//
// A stream of its own is the feedback: the samples which say that a target is
// scraped, and how many series it has. What they mean is for others to decide.
//
// The receiver believes its sender: whoever reaches relay.listen_address can
// say of any target that it is being scraped, and so make another member let
// go of it. That is why it listens on loopback unless told otherwise.
//
// How a request's bytes are edited is the business of package wire, where
// series belong that of hashring, and how one receiver is written to that of
// upstream.
package relay

import (
	"context"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/otel/trace"

	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/relay/wire"
)

const (
	readTimeout  = 10 * time.Second              // for a whole request; Prometheus sends at once
	writeTimeout = answerTimeout + 5*time.Second // from a request's header to the end of its answer
	idleTimeout  = 5 * time.Minute               // for a connection between requests
	maxHeader    = 16 << 10                      // bytes
	finishWithin = answerTimeout + 1*time.Second // requests under way when Run is told to stop
)

// Sample is one sample of the feedback stream, as the sender wrote it.
type Sample struct {
	Labels    labels.Labels // sorted, with __name__
	Value     float64       // bit for bit: a stale marker stays one
	Timestamp int64         // Unix time in ms
}

// Options are what the rest of the sidecar lends the relay.
type Options struct {
	// Feedback is called with the samples of each accepted feedback request,
	// before that is answered; calls may overlap. It must return quickly, and
	// may keep what it is given.
	Feedback func([]Sample)
	// HandedOver tells whether a series is of a target that this member has
	// handed over to a live one. Calls may overlap.
	HandedOver   func(labels.Labels) bool
	ReplicaLabel string               // goes into every series that has none
	Node         string               // the replica label's value
	Tracer       trace.TracerProvider // nil: no traces
}

// Relay is a receiver that is bound to its address.
type Relay struct {
	options   Options
	listener  net.Listener
	logger    log.Logger
	metrics   *metrics
	feedback  *intake
	write     *intake
	slots     chan struct{} // one for each feedback request being read
	requests  sync.Pool     // of *request
	gate      sync.RWMutex  // held for reading by every request under way, for writing once there are to be no more
	budget    budget
	names     *wire.Names
	upstreams []*upstream.Upstream
	required  []*upstream.Upstream // those of upstreams that are waited for
	queues    []*queue             // of the others

	lastFeedback atomic.Pointer[time.Time] // nil: never yet
}

// New validates cfg and binds its listen address; it starts nothing.
func New(cfg Config, o Options, logger log.Logger, reg prometheus.Registerer) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Relay{
		options:  o,
		logger:   logger,
		slots:    make(chan struct{}, maxConcurrent),
		requests: sync.Pool{New: func() any { return new(request) }},
		budget:   budget{limit: maxInFlight},
	}
	r.metrics = newMetrics(reg, func() float64 { return float64(r.budget.used.Load()) })
	r.feedback = &intake{path: feedbackPath, metrics: r.metrics.feedback, logger: logger}
	r.write = &intake{path: writePath, metrics: r.metrics.write, logger: logger}
	if err := r.addUpstreams(cfg, reg); err != nil {
		return nil, err
	}
	var err error
	if r.listener, err = net.Listen("tcp", cfg.ListenAddress); err != nil {
		return nil, fmt.Errorf("bind relay.listen_address: %w; give an address of this host that is free", err)
	}
	if addr, ok := r.listener.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		level.Warn(logger).Log("msg", "relay.listen_address is not on loopback: whoever reaches it can confirm hand-overs", "address", addr)
	}
	return r, nil
}

func (r *Relay) addUpstreams(cfg Config, reg prometheus.Registerer) error {
	added := []labels.Label{{Name: r.options.ReplicaLabel, Value: r.options.Node}}
	looked := []string{r.options.ReplicaLabel}
	for name, value := range cfg.Labels {
		added = append(added, labels.Label{Name: name, Value: value})
		looked = append(looked, name)
	}
	for _, u := range cfg.Upstreams {
		if u.Tenant.Label != "" {
			looked = append(looked, u.Tenant.Label)
		}
	}
	r.names = wire.NewNames(looked...)
	shared := upstream.NewMetrics(reg)
	for _, ucfg := range cfg.Upstreams {
		u, err := upstream.New(ucfg, upstream.Options{
			Labels:       added,
			ReplicaLabel: r.options.ReplicaLabel,
			HandedOver:   r.options.HandedOver,
			Names:        r.names,
			Tracer:       r.options.Tracer,
			Logger:       log.With(r.logger, "upstream", ucfg.Name),
			Metrics:      shared,
		})
		if err != nil {
			return fmt.Errorf("upstream %s: %w", ucfg.Name, err)
		}
		r.upstreams = append(r.upstreams, u)
		if ucfg.Required {
			r.required = append(r.required, u)
		} else {
			r.queues = append(r.queues, newQueue(u, r.names, int64(ucfg.QueueBytes), r.metrics))
		}
	}
	return nil
}

// Addr is the address the relay is bound to.
func (r *Relay) Addr() net.Addr { return r.listener.Addr() }

// Run serves until ctx ends. Then it takes no more, finishes the requests under
// way, and tries once more to empty the queues. After it has returned, nothing
// in Options is called any more. It can be called once.
func (r *Relay) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, u := range r.upstreams {
		parts.Go(func() { u.Run(life) })
	}
	queueing, drain := context.WithCancel(context.Background())
	var queues sync.WaitGroup
	for _, q := range r.queues {
		queues.Go(func() { q.run(queueing) })
	}
	err := r.serve(ctx)
	drain()
	queues.Wait()
	end()
	parts.Wait()
	return err
}

func (r *Relay) serve(ctx context.Context) error {
	srv := &http.Server{
		Handler:        r.handler(),
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       stdlog.New(log.NewStdlibAdapter(level.Debug(r.logger)), "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(r.listener) }()

	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("serve relay.listen_address %s: %w", r.Addr(), err)
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), finishWithin)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			level.Warn(r.logger).Log("msg", "requests to the relay cut off at shutdown", "err", err)
		}
		<-served
	}
	srv.Close()
	r.gate.Lock() // for good: what comes now is turned away
	return failed
}

func (r *Relay) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(feedbackPath, r.gated(r.feedback, http.HandlerFunc(r.serveFeedback)))
	if len(r.upstreams) == 0 {
		mux.HandleFunc(writePath, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "relay.upstreams of ringside.yml is empty: there is nobody to relay to", http.StatusNotFound)
		})
		return mux
	}
	mux.Handle(writePath, r.gated(r.write, traced(http.HandlerFunc(r.serveWrite), r.options.Tracer)))
	return mux
}

// gated lets a request in unless the relay is stopping.
func (r *Relay) gated(books *intake, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.gate.TryRLock() {
			books.reject(w, req, &rejection{http.StatusServiceUnavailable, reasonOverloaded, "the relay is stopping; try again"})
			return
		}
		defer r.gate.RUnlock()
		next.ServeHTTP(w, req)
	})
}
