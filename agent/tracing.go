package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/version"
	prometheus "github.com/prometheus/prometheus/config"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"
)

const (
	lastTraces  = 5 * time.Second  // to send what is left at the end
	tracingLogs = 10 * time.Second // between two lines about spans that were not taken
)

// tracing makes the tracers of a sidecar and sends what they record to an OTLP
// receiver. It leaves OpenTelemetry's global state alone, so that nothing is
// traced but what was handed its provider.
type tracing struct {
	sdk    *sdktrace.TracerProvider // nil: nothing is traced
	logger log.Logger
}

// newTracing sets up what the tracing block says; nil is no tracing. What it
// returns must be stopped.
func newTracing(cfg *prometheus.TracingConfig, node string, logger log.Logger) (*tracing, error) {
	if cfg == nil {
		return &tracing{}, nil
	}
	client, err := otlpClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("tracing.tls_config: %w", err)
	}
	ctx := context.Background()
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		semconv.ServiceName("ringside"), semconv.ServiceVersion(version.Version), semconv.ServiceInstanceID(node)))
	if err != nil {
		return nil, fmt.Errorf("tracing: describe this sidecar: %w", err)
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	logger = log.With(logger, "component", "tracing")
	return &tracing{logger: logger, sdk: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&quietExporter{SpanExporter: exporter, logger: logger, secrets: scrubber(cfg.Headers)}),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SamplingFraction))),
		sdktrace.WithResource(res),
	)}, nil
}

// otlpClient reads the TLS files that cfg names; it connects later.
func otlpClient(cfg *prometheus.TracingConfig) (otlptrace.Client, error) {
	tlsConfig, err := config.NewTLSConfig(&cfg.TLSConfig)
	if err != nil {
		return nil, err
	}
	timeout := time.Duration(cfg.Timeout)
	if cfg.ClientType == prometheus.TracingClientHTTP {
		opts := []otlptracehttp.Option{otlptracehttp.WithEndpoint(cfg.Endpoint), otlptracehttp.WithHeaders(cfg.Headers)}
		if cfg.Insecure {
			opts = append(opts, otlptracehttp.WithInsecure())
		} else {
			opts = append(opts, otlptracehttp.WithTLSClientConfig(tlsConfig))
		}
		if cfg.Compression == prometheus.GzipCompression {
			opts = append(opts, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		}
		if timeout > 0 {
			opts = append(opts, otlptracehttp.WithTimeout(timeout))
		}
		return otlptracehttp.NewClient(opts...), nil
	}
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(cfg.Endpoint), otlptracegrpc.WithHeaders(cfg.Headers)}
	if cfg.Insecure {
		opts = append(opts, otlptracegrpc.WithInsecure())
	} else {
		opts = append(opts, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(tlsConfig)))
	}
	if cfg.Compression != "" {
		opts = append(opts, otlptracegrpc.WithCompressor(cfg.Compression))
	}
	if timeout > 0 {
		opts = append(opts, otlptracegrpc.WithTimeout(timeout))
	}
	return otlptracegrpc.NewClient(opts...), nil
}

// provider is what the parts make their tracers with; nil: they trace nothing.
func (t *tracing) provider() trace.TracerProvider {
	if t.sdk == nil {
		return nil
	}
	return t.sdk
}

// stop sends what is left, for lastTraces at most. Of nil it is a no-op.
func (t *tracing) stop() {
	if t == nil || t.sdk == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
	defer cancel()
	if err := t.sdk.Shutdown(ctx); err != nil {
		level.Warn(t.logger).Log("msg", "the last traces were not sent", "err", err)
	}
}

// quietExporter logs what goes wrong, now and then, where the SDK would print
// each error to the standard logger.
type quietExporter struct {
	sdktrace.SpanExporter
	logger  log.Logger
	secrets *strings.Replacer

	mu     sync.Mutex
	logged time.Time
	lost   int // spans since then
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *quietExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += len(spans)
	if time.Since(e.logged) >= tracingLogs {
		level.Warn(e.logger).Log("msg", "spans not taken by the receiver are dropped", "spans", e.lost, "err", short(e.secrets.Replace(err.Error())))
		e.logged, e.lost = time.Now(), 0
	}
	return nil
}

// short bounds what a receiver may have put into an error.
func short(text string) string {
	if len(text) > 256 {
		text = strings.ToValidUTF8(text[:256], "") + "…"
	}
	return text
}

// scrubber hides the values of headers, which may be secret.
func scrubber(headers map[string]string) *strings.Replacer {
	var pairs []string
	for _, value := range headers {
		if value != "" {
			pairs = append(pairs, value, "<secret>")
		}
	}
	return strings.NewReplacer(pairs...)
}
