package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestService(opts options) *service {
	return newService(opts, []*ledger{newLedger("main", map[string]budget{"food": {Limit: 1000, Spent: 250}})}, true, []byte("[]"))
}

func request(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader(body)))
	return rec
}

const payment = `{"ledger": "main", "type": "payment", "budget": "food", "entries": [{"account": "expenses", "amount": 250}, {"account": "cash", "amount": -250}]}`

func TestAPI(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		errorRate                float64
		code                     int
		text, counted            string // counted: a series that must be 1 after it
	}{
		{"payment", "POST", "/api/v1/transactions", payment, 0, 201, "", `ledger_transactions_total{status="posted",type="payment"} 1`},
		{"no ledger", "POST", "/api/v1/transactions", strings.Replace(payment, "main", "x", 1), 0, 422, `no ledger "x"`, `ledger_transactions_total{status="rejected",type="payment"} 1`},
		{"unknown type", "POST", "/api/v1/transactions", `{"type": "gift"}`, 0, 422, "payment, transfer, refund", `ledger_http_requests_total{endpoint="/api/v1/transactions",method="POST",status="422"} 1`},
		{"not JSON", "POST", "/api/v1/transactions", "gift", 0, 400, "not a transaction", `ledger_http_requests_total{endpoint="/api/v1/transactions",method="POST",status="400"} 1`},
		{"database error", "POST", "/api/v1/transactions", payment, 1, 500, "database", `ledger_transactions_total{status="failed",type="payment"} 1`},
		{"ledger", "GET", "/api/v1/ledgers/main", "", 0, 200, `"food":{"limit":1000,"spent":250}`, `ledger_http_requests_total{endpoint="/api/v1/ledgers/{id}",method="GET",status="200"} 1`},
		{"no such ledger", "GET", "/api/v1/ledgers/x", "", 0, 404, "no such ledger", `ledger_http_requests_total{endpoint="/api/v1/ledgers/{id}",method="GET",status="404"} 1`},
		{"made up", "BREW", "/api/coffee", "", 0, 404, "", `ledger_http_requests_total{endpoint="other",method="other",status="404"} 1`},
		{"health", "GET", "/health", "", 0, 200, "ok", "ledger_ledgers_total 1"},
		{"ready", "GET", "/ready", "", 0, 200, "ready", `ledger_budget_usage_percentage{budget_id="food",ledger_id="main"} 25`},
		{"discovery", "GET", "/sd", "", 0, 200, "[]", "ledger_db_connections_max 20"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestService(options{errorRate: tc.errorRate})
			if rec := request(s, tc.method, tc.path, tc.body); rec.Code != tc.code || !strings.Contains(rec.Body.String(), tc.text) {
				t.Errorf("got %d %s, want %d %s", rec.Code, rec.Body, tc.code, tc.text)
			}
			if metrics := request(s, "GET", "/metrics", "").Body.String(); !strings.Contains(metrics, tc.counted+"\n") {
				t.Errorf("no %s in\n%s", tc.counted, metrics)
			}
		})
	}
}

func TestUnready(t *testing.T) {
	s := newService(options{}, nil, false, nil)
	for path, code := range map[string]int{"/ready": 503, "/metrics": 503, "/health": 200} {
		if rec := request(s, "GET", path, ""); rec.Code != code {
			t.Errorf("%s answers %d, want %d", path, rec.Code, code)
		}
	}
}

func TestMetricsLint(t *testing.T) {
	s := newTestService(options{})
	problems, err := promlint.New(request(s, "GET", "/metrics", "").Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// When queries take longer than requests keep coming, connections run out.
func TestConnectionsRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestService(options{latency: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		w := &workload{service: s}
		tx := transaction{Ledger: "main", Type: "payment", Entries: pay(1)}
		for range maxConnections {
			go w.call(ctx, tx)
		}
		synctest.Wait()
		if n := len(s.db.connections); n != maxConnections {
			t.Errorf("%d connections in use, want all %d", n, maxConnections)
		}
		if err := s.transact(ctx, tx); !errors.Is(err, errNoConnection) {
			t.Errorf("got %v", err)
		}
		cancel()
		synctest.Wait()
		if n := testutil.ToFloat64(s.metrics.grpcRequests.WithLabelValues(grpcService, grpcMethod, grpcUnavailable)); n != maxConnections {
			t.Errorf("%v calls were unavailable, want %d", n, maxConnections)
		}
	})
}

func TestTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestService(options{})
		ctx, cancel := context.WithTimeout(t.Context(), 2*taskInterval+time.Second)
		defer cancel()
		s.runTasks(ctx)
		for _, typ := range taskTypes {
			if n := testutil.ToFloat64(s.metrics.tasks.WithLabelValues(typ, statusDone)); n != 2 {
				t.Errorf("%s was done %v times, want 2", typ, n)
			}
		}
	})
}
