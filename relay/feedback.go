package relay

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ringside-project/ringside/relay/wire"
)

const (
	feedbackPath  = "/api/v1/feedback"
	maxConcurrent = 8 // feedback requests read at a time: bounds memory
)

// serveFeedback takes one request in whole or not at all.
func (r *Relay) serveFeedback(w http.ResponseWriter, req *http.Request) {
	msg, rejected := negotiate(req)
	if rejected != nil {
		r.feedback.reject(w, req, rejected)
		return
	}
	if msg == wire.V2 {
		setWritten(w.Header(), wire.Counts{})
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		r.feedback.reject(w, req, &rejection{
			http.StatusServiceUnavailable, reasonOverloaded,
			fmt.Sprintf("%d requests are under way already; try again", maxConcurrent),
		})
		return
	}
	samples, counts, rejected := r.readFeedback(w, req, msg)
	if rejected != nil {
		r.feedback.reject(w, req, rejected)
		return
	}
	if len(samples) > 0 {
		r.options.Feedback(samples)
		r.noteFeedback(samples)
	}
	r.feedback.count(outcomeAccepted)
	if msg == wire.V2 {
		setWritten(w.Header(), counts)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *Relay) readFeedback(w http.ResponseWriter, req *http.Request, msg wire.Message) ([]Sample, wire.Counts, *rejection) {
	in := r.requests.Get().(*request)
	defer r.release(in)
	if rejected := in.readBody(w, req); rejected != nil {
		return nil, wire.Counts{}, rejected
	}
	if _, rejected := in.decodedSize(); rejected != nil {
		return nil, wire.Counts{}, rejected
	}
	if rejected := in.decode(); rejected != nil {
		return nil, wire.Counts{}, rejected
	}
	samples, counts, err := decode(msg, in.decoded)
	switch {
	case errors.Is(err, errTooManyItems):
		return nil, wire.Counts{}, &rejection{http.StatusRequestEntityTooLarge, reasonTooLarge, err.Error()}
	case err != nil:
		return nil, wire.Counts{}, malformed(err)
	}
	return samples, counts, nil
}

func (r *Relay) noteFeedback(samples []Sample) {
	newest := samples[0].Timestamp
	for _, s := range samples {
		r.metrics.samples.WithLabelValues(s.Labels.Get(model.MetricNameLabel)).Inc()
		newest = max(newest, s.Timestamp)
	}
	r.metrics.lastSample.Set(float64(newest) / 1000)
	now := time.Now()
	r.lastFeedback.Store(&now)
}

// setWritten sets the headers without which a sender of remote_write 2.0 takes
// a 2xx for the answer of one that speaks 1.0 only
// (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/#required-written-response-headers).
func setWritten(h http.Header, counts wire.Counts) {
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(counts.Samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(counts.Histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(counts.Exemplars))
}
