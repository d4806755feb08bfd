package upstream

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

// class is what an answer means for the series of its request.
type class uint8

const (
	accepted    class = iota // all are written
	partial                  // some are, as many as the answer says; the others never will be
	suspect                  // one or more of them are bad, perhaps all
	tooLarge                 // they are too many for one request
	unsupported              // the message is not spoken here
	refused                  // none is written, and none ever will be
	retryable                // they may be written another time
)

// Written headers of remote_write 2.0, in the order of wire.Counts
// (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/#required-written-response-headers).
var writtenHeaders = [...]string{
	"X-Prometheus-Remote-Write-Samples-Written",
	"X-Prometheus-Remote-Write-Histograms-Written",
	"X-Prometheus-Remote-Write-Exemplars-Written",
}

// answer is how a request ended.
type answer struct {
	class      class
	status     int           // what the sender is to be told: the endpoint's own, where there is one
	retryAfter time.Duration // 0: none
	written    wire.Counts   // if partial
	text       string        // for a person; empty if accepted
}

// classify tells what the answer to a request with sent in it means.
func classify(status int, h http.Header, msg wire.Message, sent wire.Counts) answer {
	a := answer{status: status}
	written, said := writtenIn(h)
	said = said && msg == wire.V2
	switch {
	case status/100 == 2:
		a.status = http.StatusOK
		if msg == wire.V2 && !said && sent != (wire.Counts{}) {
			a.class, a.status = unsupported, http.StatusUnsupportedMediaType // it found nothing in there that it knows
		}
	case status == http.StatusTooManyRequests || status/100 == 5:
		a.class, a.retryAfter = retryable, parseRetryAfter(h.Get("Retry-After"), time.Now())
	case status/100 != 4:
		a.class, a.status = retryable, http.StatusServiceUnavailable
	case status == http.StatusUnsupportedMediaType && msg == wire.V2:
		a.class = unsupported
	case status == http.StatusRequestEntityTooLarge:
		a.class = tooLarge
	case status != http.StatusBadRequest && status != http.StatusConflict:
		a.class = refused
	case said:
		a.class, a.written = partial, least(written, sent)
	default:
		a.class = suspect
	}
	return a
}

// writtenIn reads the Written headers; those missing, where one is there, mean 0.
func writtenIn(h http.Header) (counts wire.Counts, said bool) {
	for i, to := range []*int{&counts.Samples, &counts.Histograms, &counts.Exemplars} {
		n, err := strconv.Atoi(h.Get(writtenHeaders[i]))
		if err == nil && n >= 0 {
			*to, said = n, true
		}
	}
	return counts, said
}

const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads seconds or an HTTP date; 0 if it is neither, or over.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

func least(a, b wire.Counts) wire.Counts {
	return wire.Counts{
		Samples:    min(a.Samples, b.Samples),
		Histograms: min(a.Histograms, b.Histograms),
		Exemplars:  min(a.Exemplars, b.Exemplars),
	}
}

func minus(a, b wire.Counts) wire.Counts {
	return wire.Counts{
		Samples:    a.Samples - b.Samples,
		Histograms: a.Histograms - b.Histograms,
		Exemplars:  a.Exemplars - b.Exemplars,
	}
}
