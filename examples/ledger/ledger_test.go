package main

import (
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

func pay(amount int64) []entry { return []entry{{"expenses", amount}, {"cash", -amount}} }

func TestPost(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tx     transaction
		reason string // empty: booked
	}{
		{"two entries", transaction{Entries: pay(100)}, ""},
		{"three entries", transaction{Entries: []entry{{"expenses", 60}, {"equity", 40}, {"bank", -100}}}, ""},
		{"within its budget", transaction{Budget: "food", Entries: pay(600)}, ""},
		{"over its budget", transaction{Budget: "food", Entries: pay(601)}, `budget "food" has 600 cents left, 601 are asked for`},
		{"no such budget", transaction{Budget: "rent", Entries: pay(1)}, `no budget "rent"`},
		{"no such account", transaction{Entries: []entry{{"cash", 1}, {"pocket", -1}}}, `no account "pocket"`},
		{"unbalanced", transaction{Entries: []entry{{"cash", 2}, {"bank", -1}}}, "entries sum to 1, not to zero"},
		{"one entry", transaction{Entries: []entry{{"cash", 1}}}, "1 entries"},
		{"nothing moved", transaction{Entries: []entry{{"cash", 0}, {"bank", 0}}}, "amount 0"},
		{"too much", transaction{Entries: pay(maxAmount + 1)}, "amount 100000000001 is not within"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLedger("l", map[string]budget{"food": {Limit: 1000, Spent: 400}})
			balances, budgets := l.snapshot()
			err := l.post(tc.tx)
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, errRejected) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v, want %s", err, tc.reason)
			}
			if b, g := l.snapshot(); !maps.Equal(b, balances) || !maps.Equal(g, budgets) {
				t.Errorf("a rejected transaction left %v and %v", b, g)
			}
		})
	}
}

func TestBalancesSumToZero(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLedger("l", nil)
	booked := 0
	for range 1000 {
		var tx transaction
		for range 2 + rng.IntN(2) {
			tx.Entries = append(tx.Entries, entry{accounts[rng.IntN(len(accounts))], rng.Int64N(5) - 2})
		}
		if l.post(tx) == nil {
			booked++
		}
		if err := l.reconcile(); err != nil {
			t.Fatalf("after %+v: %v", tx, err)
		}
	}
	if booked == 0 {
		t.Error("nothing was booked")
	}
	l.balances["cash"]++
	if l.reconcile() == nil {
		t.Error("a cent out of nowhere went unnoticed")
	}
}

func TestRollOver(t *testing.T) {
	l := newLedger("l", map[string]budget{"full": {1000, 950}, "half": {1000, 500}})
	l.rollOver()
	if _, budgets := l.snapshot(); !maps.Equal(budgets, map[string]budget{"full": {1000, 0}, "half": {1000, 500}}) {
		t.Errorf("got %v", budgets)
	}
}

func TestInstancesAreSkewed(t *testing.T) {
	const most = 3000
	size := func(instance uint64) (budgets int) {
		for _, l := range openLedgers(rand.New(rand.NewPCG(1, instance)), most) {
			budgets += len(l.budgets)
		}
		return budgets
	}
	smallest, largest := most, 0
	for instance := range uint64(60) {
		n := size(instance)
		if n != size(instance) {
			t.Error("the same seed gives other ledgers")
		}
		smallest, largest = min(smallest, n), max(largest, n)
	}
	if smallest < 1 || smallest > 20 || largest < 1000 || largest > most {
		t.Errorf("from %d to %d budgets, want from few to some thousands", smallest, largest)
	}
}
