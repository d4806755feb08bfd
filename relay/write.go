package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/relay/wire"
)

const (
	writePath = "/api/v1/write"

	// answerTimeout is less than the 30 s after which Prometheus gives up and
	// sends again what may be on its way still.
	answerTimeout = 25 * time.Second

	indexSize = 100 // bytes, about, that a parsed series takes beside its text

	minCost = 64 << 10 // bytes that a request counts as at least: its goroutines and connections
)

// answer is what the sender is told.
type answer struct {
	status     int
	retryAfter time.Duration
	text       string      // of what is not 2xx
	written    wire.Counts // for the headers of 2.0
}

func (r *Relay) serveWrite(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), answerTimeout)
	defer cancel()
	msg, rejected := negotiate(req)
	if rejected != nil {
		r.write.reject(w, req, rejected)
		return
	}
	if msg == wire.V2 {
		setWritten(w.Header(), wire.Counts{})
	}
	lease := lease{budget: &r.budget}
	defer lease.end()
	in := r.requests.Get().(*request)
	defer r.release(in)
	if rejected := r.read(w, req, in, &lease); rejected != nil {
		r.write.reject(w, req, rejected)
		return
	}
	if err := in.batch.Parse(msg, in.decoded, r.names); err != nil {
		rejected := malformed(err)
		if errors.Is(err, wire.ErrTooMany) {
			rejected = &rejection{http.StatusRequestEntityTooLarge, reasonTooLarge, err.Error()}
		}
		r.write.reject(w, req, rejected)
		return
	}
	if !lease.grow(lease.bytes + int64(in.batch.Len())*indexSize) {
		r.write.reject(w, req, overloaded)
		return
	}
	r.answer(w, msg, r.deliver(ctx, &in.batch))
}

var overloaded = &rejection{
	http.StatusServiceUnavailable, reasonOverloaded,
	fmt.Sprintf("the requests under way take the %d bytes there are for them; try again", maxInFlight),
}

// read reads and decodes the body, within what the budget has room for.
func (r *Relay) read(w http.ResponseWriter, req *http.Request, in *request, lease *lease) *rejection {
	length := req.ContentLength
	if length < 0 {
		length = maxBody
	}
	if !lease.grow(max(length, minCost)) {
		return overloaded
	}
	if rejected := in.readBody(w, req); rejected != nil {
		return rejected
	}
	size, rejected := in.decodedSize()
	if rejected != nil {
		return rejected
	}
	// Decoded once, and rendered for each upstream.
	if !lease.grow(length + int64(size)*int64(1+len(r.upstreams))) {
		return overloaded
	}
	return in.decode()
}

// deliver hands the batch to all required upstreams and waits for them; the
// others get it once there is nothing that the sender will send again.
func (r *Relay) deliver(ctx context.Context, b *wire.Batch) answer {
	results := make([]upstream.Result, len(r.required))
	var wg sync.WaitGroup
	for i := range r.required {
		if i == len(r.required)-1 {
			results[i] = r.required[i].Deliver(ctx, b)
			continue
		}
		wg.Go(func() { results[i] = r.required[i].Deliver(ctx, b) })
	}
	wg.Wait()
	a := conclude(b, results)
	if !a.retryable() {
		for _, q := range r.queues {
			q.put(b)
		}
	}
	return a
}

// conclude is what the sender is told of what came of its batch at each
// required upstream. Written is all that none refused: what an upstream is not
// to get, by its configuration, is no loss, and Prometheus takes a request of
// which nothing was written for lost. What may yet succeed goes before what never will: the
// sender must send it again, even if a part is refused once more.
func conclude(b *wire.Batch, results []upstream.Result) answer {
	a := answer{status: http.StatusNoContent, written: b.Totals()}
	var refused wire.Counts // each upstream counts the invalid series in
	for _, invalid := range b.Invalid() {
		refused = refused.Add(b.Counts(invalid.Series))
		a.status, a.text = http.StatusBadRequest, fmt.Sprintf("series %d: %s", invalid.Series, invalid.Reason)
	}
	for _, res := range results {
		switch {
		case severity(res.Status) > severity(a.status):
			a.status, a.text = res.Status, res.Reason
		case res.Status/100 != 2 && a.text == "":
			a.text = res.Reason
		}
		a.retryAfter = max(a.retryAfter, res.RetryAfter)
		refused.Samples = max(refused.Samples, res.Rejected.Samples)
		refused.Histograms = max(refused.Histograms, res.Rejected.Histograms)
		refused.Exemplars = max(refused.Exemplars, res.Rejected.Exemplars)
	}
	a.written.Samples -= refused.Samples
	a.written.Histograms -= refused.Histograms
	a.written.Exemplars -= refused.Exemplars
	if a.retryable() {
		a.written = wire.Counts{}
	}
	return a
}

func (a *answer) retryable() bool { return severity(a.status) >= severity(http.StatusTooManyRequests) }

// severity orders the answers of several upstreams.
func severity(status int) int {
	switch {
	case status/100 == 5:
		return 3
	case status == http.StatusTooManyRequests:
		return 2
	case status/100 == 2:
		return 0
	}
	return 1
}

func (r *Relay) answer(w http.ResponseWriter, msg wire.Message, a answer) {
	switch severity(a.status) {
	case 0:
		r.write.count(outcomeAccepted)
	case 1:
		r.write.count(outcomeRefused)
	default:
		r.write.count(outcomeFailed)
	}
	if msg == wire.V2 {
		setWritten(w.Header(), a.written)
	}
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((a.retryAfter+time.Second-1)/time.Second)))
	}
	if a.status/100 == 2 {
		w.WriteHeader(a.status)
		return
	}
	http.Error(w, a.text, a.status)
}
