package relay

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/relay/wire"
)

const (
	// lanes is how many requests are on their way to a best-effort upstream at
	// once. A series keeps to one lane, so that its samples stay in order.
	lanes = 4

	maxBackoff   = 30 * time.Second
	drainTimeout = 5 * time.Second // to empty the queues when the relay stops
)

// queue holds what is on its way to one best-effort upstream.
type queue struct {
	upstream *upstream.Upstream
	names    *wire.Names
	lanes    [lanes]lane
}

// parcel is a request that waits, of a part of the series of the one that came.
type parcel struct {
	msg    wire.Message
	body   []byte // snappy
	counts wire.Counts
}

func newQueue(u *upstream.Upstream, names *wire.Names, limit int64, m *metrics) *queue {
	q := &queue{upstream: u, names: names}
	for i := range q.lanes {
		q.lanes[i] = lane{limit: limit / lanes, wake: make(chan struct{}, 1), waiting: m.queueBytes.WithLabelValues(u.Name())}
	}
	return q
}

// put queues the batch, or drops what has waited longest to make room. It
// never waits, and keeps nothing of b.
func (q *queue) put(b *wire.Batch) {
	var rows [lanes][]wire.Row
	invalid := b.Invalid()
	var key []byte
	for i := range b.Len() {
		if len(invalid) > 0 && invalid[0].Series == i {
			invalid = invalid[1:]
			continue
		}
		key = b.AppendKey(key[:0], i, nil)
		lane := xxhash.Sum64(key) % lanes
		rows[lane] = append(rows[lane], wire.Row{Series: int32(i)})
	}
	for i := range rows {
		if len(rows[i]) == 0 && (i > 0 || b.Len() > 0) {
			continue // the first lane takes a body without series: it has metadata
		}
		if rows[i] == nil {
			rows[i] = []wire.Row{}
		}
		p := parcel{msg: b.Message(), body: s2.EncodeSnappy(nil, b.Render(nil, b.Message(), nil, rows[i]))}
		for _, row := range rows[i] {
			p.counts = p.counts.Add(b.Counts(int(row.Series)))
		}
		q.drop(q.lanes[i].push(p)...)
	}
}

func (q *queue) drop(parcels ...parcel) {
	for _, p := range parcels {
		q.upstream.Dropped(p.counts)
	}
}

// run delivers until ctx ends, and after that for drainTimeout what waits still.
func (q *queue) run(ctx context.Context) {
	life, end := context.WithCancel(context.Background())
	defer end()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, end) })
	defer stop()
	var wg sync.WaitGroup
	for i := range q.lanes {
		wg.Go(func() { q.drain(ctx, life, &q.lanes[i]) })
	}
	wg.Wait()
}

// drain delivers what comes into the lane; once ctx has ended, each parcel gets
// one try, until life ends as well.
func (q *queue) drain(ctx, life context.Context, l *lane) {
	var in request
	for {
		p, ok := l.pop(ctx)
		switch {
		case !ok:
			return
		case life.Err() != nil:
			q.drop(p)
		default:
			q.deliver(ctx, life, p, &in)
		}
		l.done(p)
	}
}

// deliver tries until the upstream has taken or refused the parcel; once ctx
// has ended, one time more.
func (q *queue) deliver(ctx, life context.Context, p parcel, in *request) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = maxBackoff
	for {
		last := ctx.Err() != nil
		attempt, cancel := context.WithTimeout(life, answerTimeout)
		res := q.attempt(attempt, p, in)
		cancel()
		if severity(res.Status) < severity(http.StatusTooManyRequests) {
			return
		}
		if last {
			q.drop(p)
			return
		}
		pause := time.NewTimer(max(wait.NextBackOff(), min(res.RetryAfter, maxBackoff)))
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
}

func (q *queue) attempt(ctx context.Context, p parcel, in *request) upstream.Result {
	in.body.Reset()
	in.body.Write(p.body)
	if rejected := in.decode(); rejected != nil {
		return upstream.Result{Status: rejected.status, Reason: rejected.text}
	}
	if err := in.batch.Parse(p.msg, in.decoded, q.names); err != nil {
		return upstream.Result{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	return q.upstream.Deliver(ctx, &in.batch)
}

// lane is a queue of bounded size with one reader.
type lane struct {
	limit   int64
	wake    chan struct{}
	waiting prometheus.Gauge // of all lanes of the upstream

	mu      sync.Mutex
	parcels []parcel
	bytes   int64 // of parcels, and of the one being delivered
	leaving int64 // bytes of the latter
}

// push appends p and returns what had to go for it: the oldest, or p itself if
// it would not fit beside what is being delivered.
func (l *lane) push(p parcel) (dropped []parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := int64(len(p.body))
	if l.leaving+size > l.limit {
		return []parcel{p}
	}
	for l.bytes+size > l.limit {
		oldest := l.take()
		l.add(-int64(len(oldest.body)))
		dropped = append(dropped, oldest)
	}
	l.parcels = append(l.parcels, p)
	l.add(size)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return dropped
}

// pop waits for the oldest parcel; done must be called once it is dealt with.
// It returns false when the lane is empty and ctx has ended.
func (l *lane) pop(ctx context.Context) (parcel, bool) {
	for {
		l.mu.Lock()
		if len(l.parcels) > 0 {
			p := l.take()
			l.leaving = int64(len(p.body))
			l.mu.Unlock()
			return p, true
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-ctx.Done():
			if l.size() == 0 {
				return parcel{}, false
			}
		}
	}
}

func (l *lane) done(p parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = 0
	l.add(-int64(len(p.body)))
}

// take removes the oldest parcel, and lets go of its memory.
func (l *lane) take() parcel {
	p := l.parcels[0]
	l.parcels[0] = parcel{}
	l.parcels = l.parcels[1:]
	if len(l.parcels) == 0 {
		l.parcels = nil
	}
	return p
}

func (l *lane) add(n int64) {
	l.bytes += n
	l.waiting.Add(float64(n))
}

func (l *lane) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}
