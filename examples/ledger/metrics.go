package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label status of ledger_transactions_total and of
// ledger_processed_tasks_total.
const (
	statusPosted   = "posted"
	statusRejected = "rejected" // the transaction is wrong
	statusFailed   = "failed"   // the ledger is at fault
	statusDone     = "done"
)

var (
	transactionTypes = []string{"payment", "transfer", "refund"}
	taskTypes        = []string{"reconcile", "roll_over"}
)

type metrics struct {
	httpRequests *prometheus.CounterVec
	httpDuration prometheus.Histogram
	grpcRequests *prometheus.CounterVec
	transactions *prometheus.CounterVec
	ledgers      prometheus.Counter
	tasks        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, db *database) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		httpRequests: counter("ledger_http_requests_total", "API requests over HTTP.", "method", "endpoint", "status"),
		grpcRequests: counter("ledger_grpc_requests_total", "API requests over gRPC.", "service", "method", "status"),
		transactions: counter("ledger_transactions_total", "Transactions, by what became of them.", "type", "status"),
		tasks:        counter("ledger_processed_tasks_total", "Background tasks done, one for each ledger.", "task_type", "status"),
		ledgers:      auto.NewCounter(prometheus.CounterOpts{Name: "ledger_ledgers_total", Help: "Ledgers opened."}),
		httpDuration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "ledger_http_request_duration_seconds",
			Help:    "How long API requests over HTTP took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "ledger_db_connections_active", Help: "Database connections in use."},
		func() float64 { return float64(len(db.connections)) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "ledger_db_connections_max", Help: "Database connections there can be."},
		func() float64 { return float64(cap(db.connections)) })

	// A series that begins at its first event hides that event from rate().
	for _, status := range []string{"201", "500", "503"} {
		m.httpRequests.WithLabelValues("POST", "/api/v1/transactions", status)
	}
	for _, status := range []string{grpcOK, grpcUnavailable} {
		m.grpcRequests.WithLabelValues(grpcService, grpcMethod, status)
	}
	for _, typ := range transactionTypes {
		for _, status := range []string{statusPosted, statusRejected, statusFailed} {
			m.transactions.WithLabelValues(typ, status)
		}
	}
	for _, typ := range taskTypes {
		for _, status := range []string{statusDone, statusFailed} {
			m.tasks.WithLabelValues(typ, status)
		}
	}
	return m
}

var budgetUsage = prometheus.NewDesc("ledger_budget_usage_percentage", "How much of a budget is spent, from 0 to 100.", []string{"ledger_id", "budget_id"}, nil)

// budgetCollector reads the usage of each budget when it is scraped. It makes
// for most of an instance's series.
type budgetCollector map[string]*ledger

// Describe implements prometheus.Collector.
func (c budgetCollector) Describe(ch chan<- *prometheus.Desc) { ch <- budgetUsage }

// Collect implements prometheus.Collector.
func (c budgetCollector) Collect(ch chan<- prometheus.Metric) {
	for id, l := range c {
		_, budgets := l.snapshot()
		for name, b := range budgets {
			usage := 100 * float64(b.Spent) / float64(b.Limit)
			ch <- prometheus.MustNewConstMetric(budgetUsage, prometheus.GaugeValue, usage, id, name)
		}
	}
}
