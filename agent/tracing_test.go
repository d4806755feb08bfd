package agent

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/gzip"
	prometheus "github.com/prometheus/prometheus/config"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// receiver takes traces by gRPC, and by HTTP, as a collector does.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []string // names, with the service's
	tenants []string // values of X-Tenant
	refuses string   // what it says instead of taking anything
}

func (r *receiver) take(tenant []string, req *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenants = append(r.tenants, tenant...)
	for _, rs := range req.ResourceSpans {
		var about []string
		for _, attribute := range rs.Resource.Attributes {
			if strings.HasPrefix(attribute.Key, "service.") {
				about = append(about, attribute.Key+"="+attribute.Value.GetStringValue())
			}
		}
		slices.Sort(about)
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				r.spans = append(r.spans, span.Name+" "+strings.Join(about, " "))
			}
		}
	}
}

func (r *receiver) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.take(md.Get("x-tenant"), req)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.refuses != "" {
		http.Error(w, r.refuses, http.StatusBadRequest)
		return
	}
	zipped, err := gzip.NewReader(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(zipped)
	var traces collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &traces) != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	r.take(req.Header.Values("X-Tenant"), &traces)
}

func TestTracing(t *testing.T) {
	for _, client := range []prometheus.TracingClientType{prometheus.TracingClientGRPC, prometheus.TracingClientHTTP} {
		t.Run(string(client), func(t *testing.T) {
			r := &receiver{}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if client == prometheus.TracingClientGRPC {
				server := grpc.NewServer()
				collector.RegisterTraceServiceServer(server, r)
				go server.Serve(listener)
				defer server.Stop()
			} else {
				server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: r}}
				server.Start()
				defer server.Close()
			}
			tr, err := newTracing(&prometheus.TracingConfig{
				ClientType: client, Endpoint: listener.Addr().String(), SamplingFraction: 1, Insecure: true,
				Headers: map[string]string{"X-Tenant": "planted"}, Compression: "gzip",
			}, "m0", log.NewNopLogger())
			if err != nil {
				t.Fatal(err)
			}
			_, span := tr.provider().Tracer("test").Start(t.Context(), "relay")
			span.End()
			tr.stop()
			if want := []string{"relay service.instance.id=m0 service.name=ringside service.version="}; !slices.Equal(r.spans, want) {
				t.Errorf("spans %q, want %q", r.spans, want)
			}
			if !slices.Equal(r.tenants, []string{"planted"}) {
				t.Errorf("header %q", r.tenants)
			}
		})
	}
}

func TestTracingThatIsRefused(t *testing.T) {
	r := &receiver{refuses: "no tenant planted here" + strings.Repeat(" at all", 1000)}
	server := httptest.NewServer(r)
	defer server.Close()
	var out bytes.Buffer
	tr, err := newTracing(&prometheus.TracingConfig{
		ClientType: prometheus.TracingClientHTTP, Endpoint: strings.TrimPrefix(server.URL, "http://"), SamplingFraction: 1, Insecure: true,
		Headers: map[string]string{"X-Tenant": "planted"},
	}, "m0", log.NewLogfmtLogger(&out))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, span := tr.provider().Tracer("test").Start(t.Context(), "relay")
		span.End()
		if err := tr.sdk.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	tr.stop()
	if text := out.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, "planted") || !strings.Contains(text, "spans=1") || len(text) > 1000 {
		t.Errorf("want one line, short and without secrets:\n%s", text)
	}
}

func TestWithoutTracing(t *testing.T) {
	tr, err := newTracing(nil, "m0", log.NewNopLogger())
	if err != nil || tr.provider() != nil {
		t.Errorf("%v, provider %v; want none", err, tr.provider())
	}
	tr.stop()
	cfg := &prometheus.TracingConfig{ClientType: prometheus.TracingClientGRPC, Endpoint: "127.0.0.1:1"}
	cfg.TLSConfig.CAFile = "nosuch.pem"
	if tr, err = newTracing(cfg, "m0", log.NewNopLogger()); err == nil || !strings.HasPrefix(err.Error(), "tracing.tls_config: ") {
		t.Errorf("a missing file: %v", err)
	}
	tr.stop()
}

// TestTracingUnreachable wants the end not to wait long for a receiver that is not there.
func TestTracingUnreachable(t *testing.T) {
	tr, err := newTracing(&prometheus.TracingConfig{
		ClientType: prometheus.TracingClientGRPC, Endpoint: "127.0.0.1:1", SamplingFraction: 1, Insecure: true, Timeout: 1e8,
	}, "m0", log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.provider().Tracer("test").Start(t.Context(), "relay")
	span.End()
	start := time.Now()
	tr.stop()
	if took := time.Since(start); took > 2*lastTraces {
		t.Errorf("took %s", took)
	}
}
