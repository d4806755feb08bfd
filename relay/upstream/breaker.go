package upstream

import (
	"math/rand/v2"
	"sync"
	"time"
)

// What trips a breaker, and for how long.
const (
	tripAfter   = 3 // failures in a row
	minOpen     = time.Second
	maxOpen     = 15 * time.Second
	probePeriod = time.Second // what others are told to wait while one request tries whether an endpoint is back
)

// health is what the end of a request says of its endpoint.
type health uint8

const (
	alive   health = iota // it answered, and was not at fault
	sick                  // no answer in time, or 5xx
	unknown               // the request was given up for another reason
)

// The states of a breaker, as the status API has them.
const (
	stateClosed   = "closed"
	stateOpen     = "open"
	stateHalfOpen = "half-open"
)

// breaker keeps requests away from an endpoint that fails, so that it costs
// one fast failure and not a time-out a request. After tripAfter failures in a
// row it is open; once that time is over one request is let through, and its
// end closes the breaker, or opens it for twice as long.
//
// It is not sony/gobreaker, whose open time is always the same.
type breaker struct {
	changed func(open bool) // called under mu

	mu       sync.Mutex
	failures int           // in a row, while closed
	open     time.Duration // how long the breaker opened last, before jitter; 0: it is closed
	until    time.Time     // when it is half-open
	probing  bool          // a request is under way that tells whether to close it
}

// enter asks to send a request. A wait of more than 0 says no, and when to ask
// again; else leave must be called, with the same probe.
func (b *breaker) enter() (probe bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == 0 {
		return false, 0
	}
	if wait := time.Until(b.until); wait > 0 {
		return false, wait
	}
	if b.probing {
		return false, probePeriod
	}
	b.probing = true
	return true, 0
}

// leave says how the request went. A sign of life counts whenever it comes; a
// failure of a request from before the breaker opened says nothing new.
func (b *breaker) leave(probe bool, h health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case h == unknown:
	case h == alive:
		b.failures = 0
		if b.open > 0 {
			b.open = 0
			b.changed(false)
		}
	case b.open == 0:
		if b.failures++; b.failures >= tripAfter {
			b.trip(minOpen)
			b.changed(true)
		}
	case probe:
		b.trip(min(2*b.open, maxOpen))
	}
}

// trip opens the breaker for up to a quarter less than d: members that lost an
// endpoint at the same time are not to try it at the same time.
func (b *breaker) trip(d time.Duration) {
	b.failures = 0
	b.open = d
	b.until = time.Now().Add(d - rand.N(d/4))
}

func (b *breaker) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.open == 0:
		return stateClosed
	case time.Until(b.until) > 0:
		return stateOpen
	}
	return stateHalfOpen
}
