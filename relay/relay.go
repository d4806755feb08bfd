// Package relay receives what the Prometheus beside it remote-writes. For now
// that is the feedback stream alone: the samples which say that a target is
// scraped, and how many series it has. What they mean is for others to decide,
// and relay.upstreams is checked but not served.
//
// The receiver believes its sender: whoever reaches relay.listen_address can
// say of any target that it is being scraped, and so make another member let
// go of it. That is why it listens on loopback unless told otherwise.
package relay

import (
	"context"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
)

const (
	feedbackPath  = "/api/v1/feedback"
	maxConcurrent = 8                // requests read at a time: bounds memory
	readTimeout   = 10 * time.Second // for a whole request; Prometheus sends at once
	idleTimeout   = 5 * time.Minute  // for a connection between requests
	maxHeader     = 16 << 10         // bytes
	drainTimeout  = 5 * time.Second  // for requests under way when Run is told to stop
	logInterval   = 10 * time.Second // between two lines about rejected requests
)

// Sample is one sample of the feedback stream, as the sender wrote it.
type Sample struct {
	Labels    labels.Labels // sorted, with __name__
	Value     float64       // bit for bit: a stale marker stays one
	Timestamp int64         // Unix time in ms
}

// Status is what the status API tells of the relay.
type Status struct {
	ListenAddress string     `json:"listen_address"`
	LastFeedback  *time.Time `json:"last_feedback,omitempty"` // when samples last came
	Requests      int64      `json:"requests"`                // rejected ones included
	Rejected      int64      `json:"rejected"`
	LastError     string     `json:"last_error,omitempty"` // why a request was last rejected
}

// Relay is a receiver that is bound to its address.
type Relay struct {
	listener net.Listener
	feedback func([]Sample)
	logger   log.Logger
	metrics  *metrics
	slots    chan struct{} // one for each request being read
	buffers  sync.Pool     // of *buffers

	mu         sync.Mutex
	status     Status
	lastLogged time.Time
	unlogged   int // rejections since lastLogged
}

// New validates cfg and binds its listen address. Once Run serves, feedback is
// called with the samples of each accepted request, before that is answered;
// calls may overlap. It must return quickly, and may keep what it is given.
func New(cfg Config, feedback func([]Sample), logger log.Logger, reg prometheus.Registerer) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("bind relay.listen_address: %w; give an address of this host that is free", err)
	}
	if addr, ok := listener.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		level.Warn(logger).Log("msg", "relay.listen_address is not on loopback: whoever reaches it can confirm hand-overs", "address", addr)
	}
	return &Relay{
		listener: listener,
		feedback: feedback,
		logger:   logger,
		metrics:  newMetrics(reg),
		slots:    make(chan struct{}, maxConcurrent),
		buffers:  sync.Pool{New: func() any { return new(buffers) }},
		status:   Status{ListenAddress: listener.Addr().String()},
	}, nil
}

// Addr is the address the relay is bound to.
func (r *Relay) Addr() net.Addr { return r.listener.Addr() }

// Status is how the relay fares now.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Run serves until ctx ends, and finishes the requests under way. After it has
// returned, feedback is called no more. It can be called once.
func (r *Relay) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc(feedbackPath, r.serveFeedback)
	srv := &http.Server{
		Handler:        mux,
		ReadTimeout:    readTimeout,
		WriteTimeout:   2 * readTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       stdlog.New(log.NewStdlibAdapter(level.Debug(r.logger)), "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(r.listener) }()

	select {
	case err := <-served:
		r.close(srv)
		return fmt.Errorf("serve relay.listen_address %s: %w", r.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		level.Warn(r.logger).Log("msg", "requests to the relay cut off at shutdown", "err", err)
	}
	r.close(srv)
	<-served
	return nil
}

// close cuts what connections there still are, and waits for their handlers by
// taking every slot.
func (r *Relay) close(srv *http.Server) {
	srv.Close()
	for range maxConcurrent {
		r.slots <- struct{}{}
	}
}
