package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// accounts is the chart of accounts that every ledger has.
var accounts = []string{"cash", "bank", "expenses", "income", "equity"}

// What a transaction may move at most.
const (
	maxEntries = 100
	maxAmount  = 1_000_000_000_00 // cents
)

// errRejected marks what is wrong with a transaction itself: to try it again
// would not help.
var errRejected = errors.New("transaction rejected")

// transaction moves money between accounts of one ledger.
type transaction struct {
	Ledger  string  `json:"ledger"`
	Type    string  `json:"type"`             // payment, transfer or refund
	Budget  string  `json:"budget,omitempty"` // the budget that its debits use up; none if empty
	Entries []entry `json:"entries"`
}

// entry is one line of a transaction.
type entry struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"` // cents; a debit is positive, a credit negative
}

// budget is how much may be spent in a period, and how much has been, in cents.
type budget struct {
	Limit int64 `json:"limit"`
	Spent int64 `json:"spent"`
}

// ledger is a double-entry book: its balances sum to zero, always.
type ledger struct {
	id        string
	budgetIDs []string // sorted

	mu       sync.Mutex
	balances map[string]int64 // cents by account
	budgets  map[string]budget
}

func newLedger(id string, budgets map[string]budget) *ledger {
	l := &ledger{id: id, budgetIDs: slices.Sorted(maps.Keys(budgets)), balances: map[string]int64{}, budgets: budgets}
	for _, account := range accounts {
		l.balances[account] = 0
	}
	return l
}

// post books all of tx or, with an error that is errRejected, nothing.
func (l *ledger) post(tx transaction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	debits, err := l.check(tx.Entries)
	if err != nil {
		return fmt.Errorf("%w: %w", errRejected, err)
	}
	if tx.Budget != "" {
		b, ok := l.budgets[tx.Budget]
		if !ok {
			return fmt.Errorf("%w: no budget %q", errRejected, tx.Budget)
		}
		if b.Spent+debits > b.Limit {
			return fmt.Errorf("%w: budget %q has %d cents left, %d are asked for", errRejected, tx.Budget, b.Limit-b.Spent, debits)
		}
		b.Spent += debits
		l.budgets[tx.Budget] = b
	}
	for _, e := range tx.Entries {
		l.balances[e.Account] += e.Amount
	}
	return nil
}

// check returns the sum of the debits of entries that balance.
func (l *ledger) check(entries []entry) (debits int64, err error) {
	if len(entries) < 2 || len(entries) > maxEntries {
		return 0, fmt.Errorf("%d entries; give from 2 to %d", len(entries), maxEntries)
	}
	var sum int64
	for _, e := range entries {
		if _, ok := l.balances[e.Account]; !ok {
			return 0, fmt.Errorf("no account %q", e.Account)
		}
		if e.Amount == 0 || e.Amount > maxAmount || e.Amount < -maxAmount {
			return 0, fmt.Errorf("amount %d is not within 1 and %d cents", e.Amount, int64(maxAmount))
		}
		sum += e.Amount
		debits += max(e.Amount, 0)
	}
	if sum != 0 {
		return 0, fmt.Errorf("entries sum to %d, not to zero", sum)
	}
	return debits, nil
}

// snapshot returns the balances by account, in cents, and the budgets.
func (l *ledger) snapshot() (map[string]int64, map[string]budget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.balances), maps.Clone(l.budgets)
}

// reconcile returns an error when the balances do not sum to zero.
func (l *ledger) reconcile() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum int64
	for _, balance := range l.balances {
		sum += balance
	}
	if sum != 0 {
		return fmt.Errorf("ledger %s is out of balance by %d cents", l.id, sum)
	}
	return nil
}

// rollOver begins a new period for the budgets that are nearly spent.
func (l *ledger) rollOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, b := range l.budgets {
		if b.Spent > b.Limit/10*9 {
			l.budgets[id] = budget{Limit: b.Limit}
		}
	}
}
