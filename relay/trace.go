package relay

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced records a span of each request, as the child of its sender's.
func traced(next http.Handler, tracer trace.TracerProvider) http.Handler {
	if tracer == nil {
		return next
	}
	return otelhttp.NewHandler(next, "remote_write",
		otelhttp.WithTracerProvider(tracer),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}
