package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ringside-project/ringside/relay/wire"
)

// wordsTimeout is how long the rest of an answer is waited for. Its status,
// which is what counts, is there already.
const wordsTimeout = time.Second

// errOutvoted cuts off what is still being sent once the other copies are written.
var errOutvoted = errors.New("cut off: enough other endpoints had answered")

// shipment is a body on its way to an endpoint.
type shipment struct {
	to     *endpoint
	tenant string // by label; empty: none, or the fixed one
	body   *body
	sent   wire.Counts // in the body
}

// post makes one request, and books how it went with its endpoint.
func (u *Upstream) post(ctx context.Context, s shipment) (answer, health) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(u.config.RemoteTimeout))
	defer cancel()
	ctx, span := u.startSpan(ctx, s)
	s.to.carry(len(s.body.bytes))
	start := time.Now()
	a, health := u.exchange(ctx, cancel, s)
	s.to.metrics.duration.Observe(time.Since(start).Seconds())
	s.to.carry(-len(s.body.bytes))
	if a.class != accepted && a.class != unsupported {
		s.to.failed(a.text)
		a.text = s.to.shown + ": " + a.text
	}
	endSpan(span, a)
	return a, health
}

// exchange sends the request and reads the answer. cancel ends ctx.
func (u *Upstream) exchange(ctx context.Context, cancel func(), s shipment) (answer, health) {
	req := s.to.request.WithContext(ctx)
	req.Header = u.header(ctx, s)
	s.body.attach(req)
	res, err := u.transport.RoundTrip(req)
	if err != nil {
		return u.unanswered(ctx, err, req)
	}
	defer res.Body.Close()
	if res.Body != http.NoBody {
		defer time.AfterFunc(wordsTimeout, cancel).Stop()
	}
	a := classify(res.StatusCode, res.Header, s.body.message, s.sent)
	if a.class == accepted {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxRead)) // so that the connection can be used again
		return a, alive
	}
	words, err := io.ReadAll(io.LimitReader(res.Body, maxRead))
	if res.Request != nil {
		req = res.Request // with the credentials that were added on the way
	}
	said := u.scrubber.text(string(words), err != nil || len(words) == maxRead, req)
	a.text = describe(res, said)
	if len(words) < maxRead {
		a.partlyWritten(string(words), s.sent)
	}
	if res.StatusCode/100 == 5 {
		return a, sick
	}
	return a, alive
}

func (u *Upstream) unanswered(ctx context.Context, err error, req *http.Request) (answer, health) {
	a := answer{class: retryable, status: http.StatusServiceUnavailable}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errOutvoted):
		a.text = errOutvoted.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		a.text = "no answer in time"
	case cause != nil:
		a.text = "given up: " + cause.Error()
		return a, unknown
	default:
		a.text = u.scrubber.text(err.Error(), false, req)
	}
	return a, sick
}

// describe puts an answer that is not a success into words; said is its body.
func describe(res *http.Response, said string) string {
	text := fmt.Sprintf("HTTP %d", res.StatusCode)
	if res.StatusCode/100 == 3 {
		text += " redirects, and redirects are not followed; make the endpoint the URL that takes samples"
		if to, err := url.Parse(res.Header.Get("Location")); err == nil && to.Host != "" {
			text += fmt.Sprintf(", perhaps at %s://%s", to.Scheme, to.Host)
		}
		return text
	}
	if said != "" {
		text += ": " + said
	}
	return text
}

func (u *Upstream) header(ctx context.Context, s shipment) http.Header {
	h := u.headersV1
	if s.body.message == wire.V2 {
		h = u.headersV2
	}
	if s.tenant == "" && u.tracer == nil {
		return h
	}
	h = h.Clone()
	if s.tenant != "" {
		h.Set(u.config.Tenant.Header, s.tenant)
	}
	if u.tracer != nil {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	}
	return h
}

// startSpan starts the span of a request. It is made here, and not by otelhttp,
// which puts the whole URL into it.
func (u *Upstream) startSpan(ctx context.Context, s shipment) (context.Context, trace.Span) {
	if u.tracer == nil {
		return ctx, nil
	}
	return u.tracer.Start(ctx, "remote_write upstream", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("ringside.upstream", u.config.Name),
		attribute.String("url.full", s.to.shown),
		attribute.String("server.address", s.to.request.URL.Hostname()),
		attribute.String("http.request.method", http.MethodPost),
		attribute.Int("http.request.body.size", len(s.body.bytes)),
		attribute.String("remote_write.message", string(s.body.message)),
		attribute.Int("remote_write.samples", samplesIn(s.sent)),
	))
}

func endSpan(span trace.Span, a answer) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.Int("http.response.status_code", a.status))
	if a.class != accepted {
		span.SetStatus(codes.Error, a.text)
	}
	span.End()
}
