package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ringside-project/ringside/relay/wire"
)

// maxRequests bounds what one part may cost while its bad series are looked for.
const maxRequests = 1000

// part is what one endpoint is to get of a batch, for one tenant.
type part struct {
	to     *endpoint
	tenant string     // by label; empty: none, or the fixed one
	rows   []wire.Row // nil: every valid series
	body   *body      // of all rows, made already; nil: to be made
	out    outcome
}

// outcome is what came of a part.
type outcome struct {
	counts  [settledKinds]wire.Counts
	runs    []run       // in the order of the rows; they make up the part
	lost    wire.Counts // of what runs call delivered, what was rejected: the endpoint does not say which
	refusal answer      // the first one for which series were rejected
	failure answer      // the first one for which series failed
	sample  string      // labels of one of the rejected series
	gaveUp  bool        // some were rejected untried
}

// run is a number of rows, one after the other, with the same verdict.
type run struct {
	rows    []wire.Row // nil: every valid series
	verdict verdict
	unsure  bool // some of them, nobody knows which, were rejected
}

// courier brings a part to its endpoint: whole if that works, else in halves,
// one after the other, until those series are found that the endpoint will not
// have. The order of series never changes.
type courier struct {
	*delivery
	*part
	requests  int
	searching bool    // the part did not go through whole
	blame     answer  // the last one that found fault with series
	last      answer  // to the last request
	stopped   bool    // nothing more is sent; what is left is
	rest      verdict // this
	bad       int     // rows rejected
}

// bring settles every row of the part.
func (c *courier) bring(ctx context.Context) {
	c.deliver(ctx, c.rows)
	if c.body != nil {
		c.body.release()
		c.body = nil
	}
	c.to.settled(c.out.counts)
}

func (c *courier) deliver(ctx context.Context, rows []wire.Row) {
	if c.giveUp(ctx); c.stopped {
		c.settle(rows, c.rest)
		return
	}
	c.last = c.send(ctx, rows)
	switch c.last.class {
	case accepted:
		c.settle(rows, delivered)
	case retryable:
		c.stopped, c.rest = true, failed
		c.giveUp(ctx)
		c.settle(rows, c.rest)
	case partial:
		c.blame = c.last
		c.believe(rows)
	case suspect, tooLarge:
		c.blame = c.last
		c.halve(ctx, rows)
	default:
		c.blame = c.last
		c.settle(rows, rejected)
	}
}

// giveUp ends the search for bad series when it takes too long. What is left
// is rejected: were it to be sent again, the search would begin anew, and hold
// up for ever all that comes later.
func (c *courier) giveUp(ctx context.Context) {
	switch {
	case !c.searching:
	case c.requests >= maxRequests || errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.stopped, c.rest, c.out.gaveUp = true, rejected, true
	case ctx.Err() != nil && !c.stopped:
		c.stopped, c.rest, c.last = true, failed, c.untried(ctx)
	}
}

func (c *courier) untried(ctx context.Context) answer {
	return answer{
		class: retryable, status: http.StatusServiceUnavailable,
		text: fmt.Sprintf("%s: given up: %v", c.to.shown, context.Cause(ctx)),
	}
}

// halve sends each half of rows, which the endpoint did not take as they are.
func (c *courier) halve(ctx context.Context, rows []wire.Row) {
	rows = c.listed(rows)
	if len(rows) <= 1 {
		c.settle(rows, rejected)
		return
	}
	c.searching = true
	class, bad := c.blame.class, c.bad
	left, right := rows[:len(rows)/2], rows[len(rows)/2:]
	c.deliver(ctx, left)
	if class != tooLarge && c.bad == bad && !c.stopped && len(right) > 1 {
		c.halve(ctx, right) // the bad ones must be here: no need to try all of it again
		return
	}
	c.deliver(ctx, right)
}

// send sends rows in the message that the upstream speaks.
func (c *courier) send(ctx context.Context, rows []wire.Row) answer {
	a := c.attempt(ctx, rows, c.sends(c.batch.Message()))
	if a.class == unsupported {
		c.fallBack(c.to, a)
		a = c.attempt(ctx, rows, wire.V1)
	}
	return a
}

func (c *courier) attempt(ctx context.Context, rows []wire.Row, msg wire.Message) answer {
	if ctx.Err() != nil {
		return c.untried(ctx)
	}
	probe, wait := c.to.breaker.enter()
	if wait > 0 {
		return answer{
			class: retryable, status: http.StatusServiceUnavailable, retryAfter: wait,
			text: fmt.Sprintf("%s: not tried again yet after several failures, the last one being: %s", c.to.shown, c.to.why()),
		}
	}
	c.requests++
	c.sending.Store(versionOf(msg))
	x := c.body
	if c.body = nil; x == nil {
		x = c.render(msg, rows)
	} else if x.message != msg {
		x.release()
		x = c.render(msg, rows)
	}
	a, health := c.post(ctx, shipment{to: c.to, tenant: c.tenant, body: x, sent: c.sum(rows)})
	c.to.breaker.leave(probe, health)
	x.release()
	return a
}

// believe settles rows of which the endpoint says how many it has written, not
// which. To send them again in halves would tell, but what is written already
// may then be refused as out of order.
func (c *courier) believe(rows []wire.Row) {
	lost := minus(c.sum(rows), c.last.written)
	c.out.runs = append(c.out.runs, run{rows, delivered, lost != wire.Counts{}})
	c.out.counts[delivered] = c.out.counts[delivered].Add(c.last.written)
	if lost != (wire.Counts{}) {
		c.out.lost = c.out.lost.Add(lost)
		c.out.counts[rejected] = c.out.counts[rejected].Add(lost)
		c.out.refuse(c.blame)
	}
}

// settle books the verdict on rows.
func (c *courier) settle(rows []wire.Row, v verdict) {
	if rows != nil && len(rows) == 0 {
		return
	}
	c.out.runs = append(c.out.runs, run{rows: rows, verdict: v})
	c.out.counts[v] = c.out.counts[v].Add(c.sum(rows))
	switch v {
	case rejected:
		c.bad += max(len(rows), 1)
		c.out.refuse(c.blame)
		if c.out.sample == "" {
			c.out.sample = c.describe(rows)
		}
	case failed:
		if c.out.failure.status == 0 {
			c.out.failure = c.last
		}
	}
}

func (o *outcome) refuse(a answer) {
	if o.refusal.status == 0 {
		o.refusal = a
	}
}
