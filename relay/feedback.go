package relay

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
)

const (
	maxBody = 32 << 20 // bytes of a request, compressed, and again decoded

	// maxExpansion is more than snappy can do: 3 bytes copy up to 64
	// (https://github.com/google/snappy/blob/main/format_description.txt).
	maxExpansion = 22

	maxPooled = 1 << 20 // bytes of a buffer that is worth keeping
)

// buffers are what a request is read into.
type buffers struct {
	body    bytes.Buffer
	decoded []byte
}

// rejection is why a request is not accepted: the reason in the metrics, and
// the status and text of the answer. Text quotes no part of a body.
type rejection struct {
	status int
	reason string
	text   string
}

func (r *Relay) serveFeedback(w http.ResponseWriter, req *http.Request) {
	rejected := r.receive(w, req)
	if rejected == nil {
		r.metrics.requests.WithLabelValues(outcomeAccepted).Inc()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.reject(rejected, req.RemoteAddr)
	switch rejected.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, rejected.text, rejected.status)
}

// receive takes one request in whole or not at all, and sets the headers that
// an answer to its message must have.
func (r *Relay) receive(w http.ResponseWriter, req *http.Request) *rejection {
	msg, rejected := negotiate(req)
	if rejected != nil {
		return rejected
	}
	if msg == messageV2 {
		setWritten(w.Header(), written{})
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return &rejection{
			http.StatusServiceUnavailable, reasonOverloaded,
			fmt.Sprintf("%d requests are under way already; try again", maxConcurrent),
		}
	}
	samples, counts, rejected := r.read(w, req, msg)
	if rejected != nil {
		return rejected
	}
	if len(samples) > 0 {
		r.feedback(samples)
	}
	r.accept(samples)
	if msg == messageV2 {
		setWritten(w.Header(), counts)
	}
	return nil
}

// negotiate tells which message the request holds by its headers. Both must be
// there, as both specifications demand; no web page can send them unasked.
func negotiate(req *http.Request) (message, *rejection) {
	if req.Method != http.MethodPost {
		return "", &rejection{http.StatusMethodNotAllowed, reasonMethod, "remote_write is a POST"}
	}
	contentType := req.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(contentType)
	msg := messageV1
	if proto, ok := params["proto"]; ok {
		msg = message(proto)
	}
	if err != nil || media != "application/x-protobuf" || (msg != messageV1 && msg != messageV2) {
		return "", &rejection{
			http.StatusUnsupportedMediaType, reasonMediaType,
			fmt.Sprintf("Content-Type %.100q is not spoken here; send application/x-protobuf, with proto=%s or proto=%s", contentType, messageV1, messageV2),
		}
	}
	if encoding := req.Header.Get("Content-Encoding"); encoding != "snappy" {
		return "", &rejection{
			http.StatusUnsupportedMediaType, reasonMediaType,
			fmt.Sprintf("Content-Encoding %.100q is not spoken here; send snappy", encoding),
		}
	}
	return msg, nil
}

// read reads and decodes the body. Sizes are checked before memory is taken.
func (r *Relay) read(w http.ResponseWriter, req *http.Request, msg message) ([]Sample, written, *rejection) {
	tooLarge := &rejection{
		http.StatusRequestEntityTooLarge, reasonTooLarge,
		fmt.Sprintf("a body may have %d bytes, compressed and decoded; send fewer samples at a time", maxBody),
	}
	if req.ContentLength > maxBody {
		return nil, written{}, tooLarge
	}
	buf := r.buffers.Get().(*buffers)
	defer r.release(buf)

	if _, err := buf.body.ReadFrom(http.MaxBytesReader(w, req.Body, maxBody)); err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return nil, written{}, tooLarge
		}
		// The data is not to blame: 503 lets the sender try again.
		return nil, written{}, &rejection{http.StatusServiceUnavailable, reasonRead, fmt.Sprintf("read the body: %v", err)}
	}
	size, err := s2.DecodedLen(buf.body.Bytes())
	switch {
	case err != nil:
		return nil, written{}, malformed(fmt.Errorf("decode snappy: %w", err))
	case size > maxBody:
		return nil, written{}, tooLarge
	case size > maxExpansion*buf.body.Len():
		return nil, written{}, malformed(fmt.Errorf("decode snappy: %d bytes cannot hold the %d that they claim", buf.body.Len(), size))
	}
	if buf.decoded, err = s2.Decode(buf.decoded, buf.body.Bytes()); err != nil {
		return nil, written{}, malformed(fmt.Errorf("decode snappy: %w", err))
	}
	samples, counts, err := decode(msg, buf.decoded)
	switch {
	case errors.Is(err, errTooManyItems):
		return nil, written{}, &rejection{http.StatusRequestEntityTooLarge, reasonTooLarge, err.Error()}
	case err != nil:
		return nil, written{}, malformed(err)
	}
	return samples, counts, nil
}

func malformed(err error) *rejection {
	return &rejection{http.StatusBadRequest, reasonMalformed, err.Error()}
}

func (r *Relay) release(buf *buffers) {
	if buf.body.Cap() > maxPooled || cap(buf.decoded) > maxPooled {
		return
	}
	buf.body.Reset()
	r.buffers.Put(buf)
}

// setWritten sets the headers without which a sender of remote_write 2.0 takes
// a 2xx for the answer of one that speaks 1.0 only
// (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/#required-written-response-headers).
func setWritten(h http.Header, counts written) {
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(counts.samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(counts.histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(counts.exemplars))
}

func (r *Relay) accept(samples []Sample) {
	for _, s := range samples {
		r.metrics.samples.WithLabelValues(s.Labels.Get(model.MetricNameLabel)).Inc()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Requests++
	if len(samples) == 0 {
		return
	}
	now := time.Now()
	r.status.LastFeedback = &now
	newest := samples[0].Timestamp
	for _, s := range samples {
		newest = max(newest, s.Timestamp)
	}
	r.metrics.lastSample.Set(float64(newest) / 1000)
}

// reject counts the rejection, and logs it unless one was logged just now.
func (r *Relay) reject(why *rejection, from string) {
	r.metrics.requests.WithLabelValues(outcomeRejected).Inc()
	r.metrics.rejected.WithLabelValues(why.reason).Inc()

	if unlogged, ok := r.noteRejection(why); ok {
		level.Warn(r.logger).Log("msg", "feedback rejected", "reason", why.reason, "from", from, "err", why.text, "unlogged", unlogged)
	}
}

// noteRejection tells whether it is time for a log line again, and how many
// rejections have had none.
func (r *Relay) noteRejection(why *rejection) (unlogged int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Requests++
	r.status.Rejected++
	r.status.LastError = why.text
	now := time.Now()
	if now.Sub(r.lastLogged) < logInterval {
		r.unlogged++
		return 0, false
	}
	unlogged = r.unlogged
	r.lastLogged, r.unlogged = now, 0
	return unlogged, true
}
