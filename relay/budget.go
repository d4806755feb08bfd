package relay

import "sync/atomic"

// maxInFlight is how many bytes the requests under way may take, all together:
// bodies as they came, decoded, and rendered for each upstream.
const maxInFlight = 128 << 20

// budget bounds the memory of requests under way.
type budget struct {
	used  atomic.Int64
	limit int64
}

// lease is what one request has of a budget. It is not for concurrent use.
type lease struct {
	budget *budget
	bytes  int64
}

// grow makes the lease one of n bytes, and tells whether there is room. A
// request that alone is larger than the limit counts as the limit, so that it
// gets its turn when nothing else is under way.
func (l *lease) grow(n int64) bool {
	n = min(n, l.budget.limit)
	if n > l.bytes && l.budget.used.Add(n-l.bytes) > l.budget.limit {
		l.budget.used.Add(l.bytes - n)
		return false
	}
	l.bytes = max(l.bytes, n)
	return true
}

func (l *lease) end() {
	l.budget.used.Add(-l.bytes)
	l.bytes = 0
}
