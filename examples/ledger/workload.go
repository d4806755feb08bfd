package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// The gRPC method that the workload calls. There is no gRPC server: a call goes
// straight to the service, and is counted as its interceptor would count it.
const (
	grpcService     = "ledger.v1.Transactions"
	grpcMethod      = "Post"
	grpcOK          = "OK"
	grpcUnavailable = "Unavailable"
)

const (
	medianBudgets  = 80  // of one instance
	budgetSpread   = 1.6 // standard deviation of the logarithm of their number
	requestTimeout = 5 * time.Second
)

// openLedgers returns the ledgers of one instance: so many that their budgets
// are log-normal over the instances, and at most maxBudgets.
func openLedgers(rng *rand.Rand, maxBudgets int) []*ledger {
	left := int(medianBudgets * math.Exp(budgetSpread*rng.NormFloat64()))
	left = min(max(left, 1), maxBudgets)
	var ledgers []*ledger
	for ; left > 0; left -= budgetsPerLedger {
		budgets := map[string]budget{}
		for i := range min(left, budgetsPerLedger) {
			limit := 100_00 + rng.Int64N(1000_00)
			budgets[fmt.Sprintf("budget-%02d", i)] = budget{Limit: limit, Spent: rng.Int64N(limit)}
		}
		ledgers = append(ledgers, newLedger(fmt.Sprintf("ledger-%03d", len(ledgers)), budgets))
	}
	return ledgers
}

// workload is the use that is made of one instance.
type workload struct {
	service *service
	url     string // of the instance
	client  *http.Client
	rate    float64 // requests a second
	ledgers []*ledger
	rng     *rand.Rand
}

// run sends requests, whether or not earlier ones have been answered, until ctx
// ends and all have been.
func (w *workload) run(ctx context.Context) {
	var sent sync.WaitGroup
	defer sent.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(w.rng.ExpFloat64() / w.rate * float64(time.Second))):
		}
		ledger, choice := w.ledgers[w.rng.IntN(len(w.ledgers))], w.rng.Float64()
		tx := w.transaction(ledger)
		sent.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			switch {
			case choice < 0.6:
				body, _ := json.Marshal(tx) // plain data: cannot fail
				w.send(ctx, http.MethodPost, "/api/v1/transactions", body)
			case choice < 0.8:
				w.send(ctx, http.MethodGet, "/api/v1/ledgers/"+ledger.id, nil)
			default:
				w.call(ctx, tx)
			}
		})
	}
}

// transaction makes one up that is good, unless its budget is exceeded.
func (w *workload) transaction(l *ledger) transaction {
	typ := transactionTypes[w.rng.IntN(len(transactionTypes))]
	amount := 1 + w.rng.Int64N(50_00)
	tx := transaction{Ledger: l.id, Type: typ}
	switch typ {
	case "payment":
		tx.Budget = l.budgetIDs[w.rng.IntN(len(l.budgetIDs))]
		tx.Entries = []entry{{"expenses", amount}, {"cash", -amount}}
	case "transfer":
		tx.Entries = []entry{{"cash", amount}, {"bank", -amount}}
	case "refund":
		tx.Entries = []entry{{"cash", amount}, {"expenses", -amount}}
	}
	return tx
}

// send sends a request over HTTP. The service counts what becomes of it.
func (w *workload) send(ctx context.Context, method, path string, body []byte) {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func (w *workload) call(ctx context.Context, tx transaction) {
	status := grpcOK
	if err := w.service.transact(ctx, tx); err != nil {
		status = grpcStatus(err)
	}
	w.service.metrics.grpcRequests.WithLabelValues(grpcService, grpcMethod, status).Inc()
}

// grpcStatus is the gRPC code that an error of the service would have.
func grpcStatus(err error) string {
	if errors.Is(err, errRejected) {
		return "FailedPrecondition"
	}
	return grpcUnavailable
}
