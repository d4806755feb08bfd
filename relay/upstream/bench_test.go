package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ringside-project/ringside/relay/wire"
)

// wide makes series of 12 labels, as many as Prometheus sends at once.
func wide(n int) []point {
	var all []point
	for i := range n {
		p := point{labels: []string{"__name__", fmt.Sprintf("http_server_requests_seconds_bucket_%d", i%100)}}
		for j := range 10 {
			p.labels = append(p.labels, fmt.Sprintf("label_number_%c", 'a'+j), fmt.Sprintf("value-%d-of-series-%d", j, i))
		}
		all = append(all, p)
	}
	return all
}

// BenchmarkDeliver measures the whole way to a server in the same process, and
// what of it is not the network: deliveries over a transport that only reads.
func BenchmarkDeliver(b *testing.B) {
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	for _, tc := range []struct{ name, text string }{
		{"one endpoint", "endpoints: [" + sink.URL + "]"},
		{"two of three endpoints", "endpoints: [" + sink.URL + "/1, " + sink.URL + "/2, " + sink.URL + "/3]\nreplication_factor: 2"},
		{"two of two endpoints", "endpoints: [" + sink.URL + "/1, " + sink.URL + "/2]\nreplication_factor: 2"},
	} {
		for _, network := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s, network %v", tc.name, network), func(b *testing.B) {
				r := newRig(b, tc.text)
				if !network {
					r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
						_, _ = io.Copy(io.Discard, req.Body)
						req.Body.Close()
						return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: req}, nil
					})
				}
				const n = 2000
				sent := batch(b, r, wire.V1, wide(n)...)
				b.ReportAllocs()
				for b.Loop() {
					if res := r.Deliver(context.Background(), sent); res.Status != http.StatusOK {
						b.Fatalf("%+v", res)
					}
				}
				b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
				closeIdle(r.transport)
			})
		}
	}
}

func TestMetrics(t *testing.T) {
	server := newReceiver(t, nil)
	r := newRig(t, at(server))
	for _, outcome := range outcomes {
		if n := r.metric(t, "ringside_relay_samples_total", `outcome="`+outcome+`"`); n != 0 {
			t.Errorf("%s is %v at the start", outcome, n)
		}
	}
	r.Dropped(wire.Counts{Samples: 2, Histograms: 1, Exemplars: 5})
	if n := r.metric(t, "ringside_relay_samples_total", `outcome="dropped"`); n != 3 || r.Status().Samples["dropped"] != 3 {
		t.Errorf("%v dropped", n)
	}
	r.deliver(t, wire.V1, points(2)...)
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for _, f := range families {
		if f.GetName() == "ringside_relay_request_duration_seconds" && f.GetMetric()[0].GetHistogram().Schema == nil {
			t.Error("no native histogram")
		}
	}
}
