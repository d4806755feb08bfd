package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxConnections   = 20          // of one instance to its database
	connectionWait   = time.Second // for a free connection, then a request fails
	maxRequestBytes  = 64 << 10
	budgetsPerLedger = 25
	taskInterval     = 10 * time.Second
)

var (
	errNoConnection = errors.New("no database connection is free")
	errDatabase     = errors.New("the database answered with an error")
)

// database stands in for a real one: it takes time, has so many connections,
// and fails at times.
type database struct {
	connections chan struct{} // one for each connection in use
	latency     time.Duration // median time of a query
	errorRate   float64       // 0 to 1: queries that fail
}

// query runs f as if in the database.
func (d *database) query(ctx context.Context, f func() error) error {
	select {
	case d.connections <- struct{}{}:
		defer func() { <-d.connections }()
	case <-time.After(connectionWait):
		return errNoConnection
	}
	select {
	case <-time.After(time.Duration(float64(d.latency) * math.Exp(rand.NormFloat64()/2))):
	case <-ctx.Done():
		return ctx.Err()
	}
	if rand.Float64() < d.errorRate {
		return errDatabase
	}
	return f()
}

// service is one instance of the ledger service.
type service struct {
	ledgers map[string]*ledger
	db      *database
	metrics *metrics
	http.Handler
}

// newService returns an instance with its own ledgers, database and registry.
// sd is what it answers at /sd.
func newService(opts options, ledgers []*ledger, ready bool, sd []byte) *service {
	reg := prometheus.NewRegistry()
	s := &service{
		ledgers: map[string]*ledger{},
		db:      &database{connections: make(chan struct{}, maxConnections), latency: opts.latency, errorRate: opts.errorRate},
	}
	s.metrics = newMetrics(reg, s.db)
	for _, l := range ledgers {
		s.ledgers[l.id] = l
		s.metrics.ledgers.Inc()
	}
	reg.MustRegister(budgetCollector(s.ledgers))

	api := http.NewServeMux()
	api.HandleFunc("POST /api/v1/transactions", s.postTransaction)
	api.HandleFunc("GET /api/v1/ledgers/{id}", s.showLedger)

	mux := http.NewServeMux()
	mux.Handle("/api/", s.instrument(api))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /ready", whenReady(ready, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })))
	mux.Handle("GET /metrics", whenReady(ready, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /sd", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(sd)
	})
	s.Handler = mux
	return s
}

// whenReady answers 503 in place of h unless the instance is ready.
func whenReady(ready bool, h http.Handler) http.Handler {
	if ready {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	})
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// instrument counts and times requests by the pattern that they match, never by
// a path or method that a client made up.
func (s *service) instrument(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start, rec := time.Now(), &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		mux.ServeHTTP(rec, req)
		method, endpoint, ok := strings.Cut(req.Pattern, " ")
		if !ok {
			method, endpoint = "other", "other"
		}
		s.metrics.httpRequests.WithLabelValues(method, endpoint, strconv.Itoa(rec.status)).Inc()
		s.metrics.httpDuration.Observe(time.Since(start).Seconds())
	})
}

func (s *service) postTransaction(w http.ResponseWriter, req *http.Request) {
	var tx transaction
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxRequestBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&tx); err != nil {
		http.Error(w, "not a transaction: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.transact(req.Context(), tx); {
	case err == nil:
		w.WriteHeader(http.StatusCreated)
	case errors.Is(err, errRejected):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, errNoConnection):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// transact books tx, for whichever way it came in.
func (s *service) transact(ctx context.Context, tx transaction) error {
	if !slices.Contains(transactionTypes, tx.Type) {
		return fmt.Errorf("%w: type %q is none of %s", errRejected, tx.Type, strings.Join(transactionTypes, ", "))
	}
	err := s.db.query(ctx, func() error {
		l, ok := s.ledgers[tx.Ledger]
		if !ok {
			return fmt.Errorf("%w: no ledger %q", errRejected, tx.Ledger)
		}
		return l.post(tx)
	})
	status := statusPosted
	if errors.Is(err, errRejected) {
		status = statusRejected
	} else if err != nil {
		status = statusFailed
	}
	s.metrics.transactions.WithLabelValues(tx.Type, status).Inc()
	return err
}

func (s *service) showLedger(w http.ResponseWriter, req *http.Request) {
	l, ok := s.ledgers[req.PathValue("id")]
	if !ok {
		http.Error(w, "no such ledger", http.StatusNotFound)
		return
	}
	balances, budgets := l.snapshot()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"id": l.id, "balances": balances, "budgets": budgets})
}

// runTasks does the background tasks until ctx ends.
func (s *service) runTasks(ctx context.Context) {
	tick := time.NewTicker(taskInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, l := range s.ledgers {
			status := statusDone
			if l.reconcile() != nil {
				status = statusFailed
			}
			s.metrics.tasks.WithLabelValues("reconcile", status).Inc()
			l.rollOver()
			s.metrics.tasks.WithLabelValues("roll_over", statusDone).Inc()
		}
	}
}
