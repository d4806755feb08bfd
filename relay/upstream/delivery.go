package upstream

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

// tenantsAtOnce is how many requests of one batch an endpoint gets at a time.
const tenantsAtOnce = 8

// Result is what came of a batch.
type Result struct {
	Delivered  wire.Counts   // acknowledged
	Rejected   wire.Counts   // refused for ever
	Failed     wire.Counts   // may go through when sent again
	Status     int           // what to answer: of what failed, else of what was rejected, else 200
	RetryAfter time.Duration // before sending again; 0: none asked for
	Reason     string        // for a person, if Status is not 200; without any secret
}

// delivery is one batch on its way to an upstream.
type delivery struct {
	*Upstream
	batch  *wire.Batch
	copies int // of each series

	routed []cargo
	parts  []part
	left   map[int]wire.Counts              // of series whose stale markers are not sent: what else they hold
	unsent [outcomeKinds - settledKinds]int // samples, by outcome
	result tally
}

// tally adds up what came of series.
type tally struct {
	counts     [settledKinds]wire.Counts
	status     [settledKinds]int // 0: none had this verdict
	reason     [settledKinds]string
	retryAfter time.Duration
	sample     string // labels of one of the rejected series
	gaveUp     bool
}

// book adds series on which a is the answer.
func (t *tally) book(v verdict, c wire.Counts, a answer) {
	t.counts[v] = t.counts[v].Add(c)
	t.explain(v, a)
}

// explain notes an answer that had to do with the verdict. Where endpoints
// differ in what they ask of the sender, 503 leaves it at trying again.
func (t *tally) explain(v verdict, a answer) {
	switch {
	case t.status[v] == 0:
		t.status[v], t.reason[v] = a.status, a.text
	case t.status[v] != a.status && v == failed:
		t.status[v] = http.StatusServiceUnavailable
	}
	t.retryAfter = max(t.retryAfter, a.retryAfter)
}

// Deliver sends the batch, and waits for the outcome. It may be called many
// times at once; b is not used any more once it has returned. A ctx that ends
// by its deadline while bad series are looked for rejects the rest.
func (u *Upstream) Deliver(ctx context.Context, b *wire.Batch) Result {
	d := delivery{Upstream: u, batch: b, copies: u.config.ReplicationFactor}
	d.route(d.sift())
	switch {
	case len(d.parts) == 1:
		d.bring(ctx, &d.parts[0])
		d.addUp()
	case d.copies == 1:
		d.send(ctx, nil)
		d.addUp()
	case len(d.parts) > 0:
		d.vote(ctx)
	}
	return d.conclude()
}

func (d *delivery) bring(ctx context.Context, p *part) {
	c := courier{delivery: d, part: p}
	c.bring(ctx)
}

// send brings all parts to their endpoints, side by side, and waits for that.
// done, if not nil, gets the index of each part when it is settled.
func (d *delivery) send(ctx context.Context, done chan<- int) {
	lanes := map[*endpoint][]int{}
	for i := range d.parts {
		lanes[d.parts[i].to] = append(lanes[d.parts[i].to], i)
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		var next atomic.Int32
		for range min(len(lane), tenantsAtOnce) {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(lane); i = int(next.Add(1)) - 1 {
					d.bring(ctx, &d.parts[lane[i]])
					if done != nil {
						done <- lane[i]
					}
				}
			})
		}
	}
	wg.Wait()
}

// addUp is for series of which there is one copy.
func (d *delivery) addUp() {
	for i := range d.parts {
		out := &d.parts[i].out
		for v, c := range out.counts {
			d.result.counts[v] = d.result.counts[v].Add(c)
		}
		if out.refusal.status != 0 {
			d.result.explain(rejected, out.refusal)
		}
		if out.failure.status != 0 {
			d.result.explain(failed, out.failure)
		}
		d.result.remember(out)
	}
}

// remember takes over what the log is to say of a part.
func (t *tally) remember(out *outcome) {
	if t.sample == "" {
		t.sample = out.sample
	}
	t.gaveUp = t.gaveUp || out.gaveUp
}

// conclude books the outcome, and says what to tell the sender.
func (d *delivery) conclude() Result {
	t := &d.result
	res := Result{
		Delivered: t.counts[delivered], Rejected: t.counts[rejected], Failed: t.counts[failed],
		Status: http.StatusOK,
	}
	for _, v := range [...]verdict{failed, rejected} {
		if t.status[v] != 0 {
			res.Status, res.Reason = t.status[v], d.config.Name+": "+t.reason[v]
			break
		}
	}
	if t.status[failed] != 0 {
		res.RetryAfter = t.retryAfter
	} else {
		for i, n := range d.unsent {
			d.book(settledKinds+i, n) // had some failed, all would come again, and with it these
		}
	}
	for v, c := range t.counts {
		d.book(v, samplesIn(c))
	}
	if samplesIn(res.Delivered) > 0 {
		d.acknowledge(d.batch.Newest())
	}
	d.report(res)
	return res
}

// report tells of what went wrong: to the log, and to the status API.
func (d *delivery) report(res Result) {
	t := &d.result
	if res.Reason != "" {
		d.fail(res.Reason)
	}
	if t.status[failed] != 0 {
		d.lines.warn("failed", "samples not written, Prometheus will send them again", "samples", samplesIn(res.Failed), "err", t.reason[failed])
	}
	if t.status[rejected] != 0 {
		d.lines.warn("rejected", "samples rejected for ever", "samples", samplesIn(res.Rejected), "series", t.sample, "err", t.reason[rejected])
	}
	if t.gaveUp {
		d.lines.warn("gave up", "too many series are bad, or the upstream is too slow, to find them all: the rest was rejected unseen", "requests", maxRequests, "err", t.reason[rejected])
	}
	for i := range d.parts {
		if p := &d.parts[i]; d.copies > 1 && t.status[failed] == 0 && p.out.failure.status != 0 {
			d.lines.warn(copyKind(p.to), "a copy is missing, the others are written", "err", p.out.failure.text)
		}
	}
}

func copyKind(e *endpoint) string { return "copy " + e.shown }
