package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.yaml.in/yaml/v3"
)

// receiver is an upstream that keeps what it is sent, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	answer  func(http.ResponseWriter, *http.Request) bool // false: it has not answered yet
	series  []string                                      // labels and timestamps of each sample, in order of arrival
	headers []http.Header
}

func newReceiver(t *testing.T) *receiver {
	r := new(receiver)
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	compressed, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	if answer != nil && answer(w, req) {
		return
	}
	body, err := s2.Decode(nil, compressed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	series, counts := decodeAll(req.Header.Get("Content-Type"), body)
	r.mu.Lock()
	r.series, r.headers = append(r.series, series...), append(r.headers, req.Header)
	r.mu.Unlock()
	if strings.Contains(req.Header.Get("Content-Type"), "v2") {
		for what, n := range map[string]int{"Samples": counts[0], "Histograms": counts[1], "Exemplars": counts[2]} {
			w.Header().Set("X-Prometheus-Remote-Write-"+what+"-Written", fmt.Sprint(n))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// decodeAll reads a body with Prometheus's own decoders.
func decodeAll(contentType string, body []byte) (series []string, counts [3]int) {
	b := labels.NewScratchBuilder(0)
	if strings.Contains(contentType, "v2") {
		var req writev2.Request
		if err := req.Unmarshal(body); err != nil {
			panic(err)
		}
		for _, ts := range req.Timeseries {
			lset, err := ts.ToLabels(&b, req.Symbols)
			if err != nil {
				panic(err)
			}
			for _, s := range ts.Samples {
				series = append(series, fmt.Sprint(lset, s.Timestamp))
			}
			counts = [3]int{counts[0] + len(ts.Samples), counts[1] + len(ts.Histograms), counts[2] + len(ts.Exemplars)}
		}
		return series, counts
	}
	var req prompb.WriteRequest
	if err := req.Unmarshal(body); err != nil {
		panic(err)
	}
	for _, ts := range req.Timeseries {
		for _, s := range ts.Samples {
			series = append(series, fmt.Sprint(ts.ToLabels(&b, nil), s.Timestamp))
		}
	}
	return series, counts
}

// replicated is what an upstream is to get of scraped.
func replicated() (series []string) {
	for _, s := range scraped {
		lset := labels.NewBuilder(s.lset).Set("prometheus_replica", "a").Labels()
		for _, sample := range s.samples {
			series = append(series, fmt.Sprint(lset, sample.Timestamp))
		}
	}
	return series
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.series)
}

func (r *receiver) say(answer func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func code(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "as told", status)
		return true
	}
}

// relayTo starts a relay with the upstreams of a ringside.yml.
func relayTo(t *testing.T, o Options, format string, args ...any) *running {
	t.Helper()
	var cfg Config
	if err := yaml.Unmarshal(fmt.Appendf(nil, format, args...), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.ListenAddress = "127.0.0.1:0"
	o.ReplicaLabel, o.Node = "prometheus_replica", "a"
	return startWith(t, cfg, o)
}

func write(req *http.Request) { req.URL.Path = "/api/v1/write" }

func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		name, contentType string
		body              []byte
		written           string
	}{
		{"1.0", typeV1, bodyV1(), "  "},
		{"2.0", typeV2, bodyV2(), "7 2 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := newReceiver(t)
			r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
			resp, text := r.post(tc.contentType, snappy(tc.body), write)
			if resp.StatusCode != http.StatusNoContent || writtenHeaders(resp) != tc.written {
				t.Fatalf("got %s: %s, %q written", resp.Status, text, writtenHeaders(resp))
			}
			if got := up.got(); !slices.Equal(got, replicated()) {
				t.Errorf("upstream got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(replicated(), "\n"))
			}
			if n := testutil.ToFloat64(r.metrics.write.requests.WithLabelValues("accepted")); n != 1 {
				t.Errorf("counted %v accepted", n)
			}
			status := r.Status()
			if status.Write.Requests != 1 || len(status.Upstreams) != 1 || status.InFlightBytes != 0 {
				t.Errorf("status is %+v", status)
			}
		})
	}
}

// The answer goes back only when every required upstream has given its own.
func TestWriteWaitsForAllRequired(t *testing.T) {
	first, second := newReceiver(t), newReceiver(t)
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}, {name: two, endpoints: [%s]}]", first.URL, second.URL)
	second.say(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3")
		http.Error(w, "as told", http.StatusServiceUnavailable)
		return true
	})
	resp, text := r.post(typeV2, snappy(bodyV2()), write)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "3" || writtenHeaders(resp) != "0 0 0" {
		t.Errorf("one of two is down: got %s, Retry-After %q, %q written: %s", resp.Status, resp.Header.Get("Retry-After"), writtenHeaders(resp), text)
	}
	second.say(nil)
	if resp, text := r.post(typeV2, snappy(bodyV2()), write); resp.StatusCode != 204 || writtenHeaders(resp) != "7 2 1" {
		t.Errorf("both are up: got %s: %s", resp.Status, text)
	}
	if got := second.got(); !slices.Equal(got, replicated()) {
		t.Errorf("the second has\n%s", strings.Join(got, "\n"))
	}
}

func TestWriteRejects(t *testing.T) {
	up := newReceiver(t)
	up.say(func(http.ResponseWriter, *http.Request) bool {
		t.Error("a rejected request reached the upstream")
		return false
	})
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
	v2 := func(symbols []string, refs ...uint32) io.Reader {
		return snappy(marshal(&writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{{LabelsRefs: refs}}}))
	}
	for _, tc := range []struct {
		name, contentType string
		body              io.Reader
		edit              func(*http.Request)
		status            int
		reason, text      string
	}{
		{"GET", typeV1, nil, func(req *http.Request) { req.Method = http.MethodGet }, 405, reasonMethod, "POST"},
		{"JSON", "application/json", snappy(bodyV1()), nil, 415, reasonMediaType, "send application/x-protobuf"},
		{"a third version", typeV1 + ";proto=io.prometheus.write.v3.Request", snappy(bodyV1()), nil, 415, reasonMediaType, "is not spoken here"},
		{"gzip", typeV1, snappy(bodyV1()), func(req *http.Request) { req.Header.Set("Content-Encoding", "gzip") }, 415, reasonMediaType, "send snappy"},
		{"4 KB that claim 4 GB", typeV1, bytes.NewReader(append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, make([]byte, 4<<10)...)), nil, 413, reasonTooLarge, "33554432 bytes"},
		{"not snappy", typeV1, strings.NewReader("\x10garbage"), nil, 400, reasonMalformed, "decode snappy"},
		{"cut protobuf", typeV1, snappy(bodyV1()[:40]), nil, 400, reasonMalformed, ""},
		{"cut protobuf, 2.0", typeV2, snappy(bodyV2()[:40]), nil, 400, reasonMalformed, ""},
		{"symbol out of range", typeV2, v2([]string{"", "__name__"}, 1, 2), nil, 400, reasonMalformed, "2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := testutil.ToFloat64(r.metrics.write.rejected.WithLabelValues(tc.reason))
			resp, text := r.post(tc.contentType, tc.body, func(req *http.Request) {
				write(req)
				if tc.edit != nil {
					tc.edit(req)
				}
			})
			if resp.StatusCode != tc.status || !strings.Contains(text, tc.text) || strings.Count(text, "\n") != 1 {
				t.Errorf("got %s: %s, want %d: %s", resp.Status, text, tc.status, tc.text)
			}
			if n := testutil.ToFloat64(r.metrics.write.rejected.WithLabelValues(tc.reason)); n != before+1 {
				t.Errorf("counted %v rejected for %s, want 1", n-before, tc.reason)
			}
		})
	}
	if n := r.Status().InFlightBytes; n != 0 {
		t.Errorf("%d bytes are in flight when nothing is", n)
	}
}

// A series that no receiver can take does not hold up the others, and its
// sender is told.
func TestWriteInvalidSeries(t *testing.T) {
	up := newReceiver(t)
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
	sample := []prompb.Sample{{Value: 1, Timestamp: 1}}
	a := prompb.Label{Name: "a", Value: "1"}
	body := marshal(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		{Labels: []prompb.Label{a, a}, Samples: sample},
		{Labels: []prompb.Label{{Name: "z", Value: "1"}, a}, Samples: sample},
	}})
	resp, text := r.post(typeV1, snappy(body), write)
	if resp.StatusCode != 400 || !strings.Contains(text, "duplicate label") {
		t.Errorf("got %s: %s", resp.Status, text)
	}
	if got, want := up.got(), []string{`{a="1", prometheus_replica="a", z="1"} 1`}; !slices.Equal(got, want) {
		t.Errorf("upstream got %q, want %q", got, want)
	}
}

func TestWriteOverload(t *testing.T) {
	up := newReceiver(t)
	entered, release := make(chan struct{}), make(chan struct{})
	up.say(func(http.ResponseWriter, *http.Request) bool { close(entered); <-release; return false })
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
	r.budget.limit = minCost
	first := make(chan int)
	go func() {
		resp, _ := r.post(typeV1, snappy(bodyV1()), write)
		first <- resp.StatusCode
	}()
	<-entered
	if resp, text := r.post(typeV1, snappy(bodyV1()), write); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), text)
	}
	close(release)
	if got := <-first; got != 204 {
		t.Errorf("the first got %d, want 204", got)
	}
}

func TestWriteToNobody(t *testing.T) {
	r := start(t, nil)
	if resp, text := r.post(typeV1, snappy(bodyV1()), write); resp.StatusCode != 404 || !strings.Contains(text, "relay.upstreams") {
		t.Errorf("got %s: %s", resp.Status, text)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// An upstream at best effort that hangs holds up nobody; when it is back it
// gets what its queue has kept, each series in order.
func TestBestEffort(t *testing.T) {
	required, best := newReceiver(t), newReceiver(t)
	best.say(code(http.StatusInternalServerError))
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}, {name: two, required: false, endpoints: [%s]}]", required.URL, best.URL)
	for i := range r.queues[0].lanes {
		r.queues[0].lanes[i].limit = 16 << 10
	}

	const requests, series = 400, 20
	for ts := range requests {
		var req prompb.WriteRequest
		for i := range series {
			req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
				Labels:  []prompb.Label{{Name: "__name__", Value: fmt.Sprintf("metric_%d", i)}},
				Samples: []prompb.Sample{{Timestamp: int64(ts + 1)}},
			})
		}
		if resp, text := r.post(typeV1, snappy(marshal(&req)), write); resp.StatusCode != 204 {
			t.Fatalf("got %s: %s", resp.Status, text)
		}
	}
	dropped := func() int { return sampleCount(t, r, "two", "dropped") }
	if dropped() == 0 {
		t.Error("nothing was dropped: the queue has no bound")
	}
	best.say(nil)
	eventually(t, "all that was not dropped is delivered", func() bool { return len(best.got())+dropped() == requests*series })
	last := map[string]int{}
	for _, s := range best.got() {
		var ts int
		lset, _, _ := strings.Cut(s, "}")
		fmt.Sscan(s[len(lset)+1:], &ts)
		if ts <= last[lset] {
			t.Fatalf("%s: %d after %d", lset, ts, last[lset])
		}
		last[lset] = ts
	}
	for i := range series {
		if lset := fmt.Sprintf(`{__name__="metric_%d", prometheus_replica="a"`, i); last[lset] != requests {
			t.Errorf("%s: the newest sample is %d, want %d: the oldest are to be dropped", lset, last[lset], requests)
		}
	}
	if len(required.got()) != requests*series {
		t.Errorf("the required upstream has %d samples", len(required.got()))
	}
}

// What is queued when the relay stops is delivered if it can be.
func TestStopEmptiesQueues(t *testing.T) {
	best := newReceiver(t)
	release := make(chan struct{})
	best.say(func(http.ResponseWriter, *http.Request) bool { <-release; return false })
	r := relayTo(t, Options{}, "upstreams: [{name: two, required: false, endpoints: [%s]}]", best.URL)
	for range 3 {
		if resp, text := r.post(typeV1, snappy(bodyV1()), write); resp.StatusCode != 204 {
			t.Fatalf("got %s: %s", resp.Status, text)
		}
	}
	stopped := make(chan error)
	go func() { stopped <- r.stop() }()
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got, want := len(best.got()), 3*len(replicated()); got != want {
		t.Errorf("%d samples are there, want %d", got, want)
	}
}

func TestWriteIsFinishedAtShutdown(t *testing.T) {
	up := newReceiver(t)
	entered, release := make(chan struct{}), make(chan struct{})
	up.say(func(http.ResponseWriter, *http.Request) bool { close(entered); <-release; return false })
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
	first := make(chan int)
	go func() {
		resp, _ := r.post(typeV1, snappy(bodyV1()), write)
		first <- resp.StatusCode
	}()
	<-entered
	stopped := make(chan error)
	go func() { stopped <- r.stop() }()
	eventually(t, "the relay is closed for others", func() bool {
		_, err := http.Get("http://" + r.Addr().String()) //nolint:bodyclose // there is no answer to close
		return err != nil
	})
	close(release)
	if got := <-first; got != 204 {
		t.Errorf("got %d, want 204", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A trace goes from the sender through the relay to the upstream.
func TestTraces(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	defer provider.Shutdown(context.Background())
	up := newReceiver(t)
	r := relayTo(t, Options{Tracer: provider}, "upstreams: [{name: one, endpoints: [%s]}]", up.URL)
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	resp, text := r.post(typeV1, snappy(bodyV1()), func(req *http.Request) {
		write(req)
		req.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	})
	if resp.StatusCode != 204 {
		t.Fatalf("got %s: %s", resp.Status, text)
	}
	up.mu.Lock()
	passedOn := up.headers[0].Get("Traceparent")
	up.mu.Unlock()
	if !strings.HasPrefix(passedOn, "00-"+traceID) || strings.Contains(passedOn, "b7ad6b7169203331") {
		t.Errorf("the upstream got traceparent %q: not a child in the sender's trace", passedOn)
	}
	eventually(t, "spans of the request and of the one to the upstream have ended", func() bool { return len(spans.Ended()) >= 2 })
	for _, span := range spans.Ended() {
		if span.SpanContext().TraceID().String() != traceID {
			t.Errorf("span %s is of another trace", span.Name())
		}
	}
}

// sampleCount reads ringside_relay_samples_total.
func sampleCount(t *testing.T, r *running, upstream, outcome string) int {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "ringside_relay_samples_total" {
			continue
		}
		for _, m := range family.Metric {
			of := map[string]string{}
			for _, l := range m.Label {
				of[l.GetName()] = l.GetValue()
			}
			if of["upstream"] == upstream && of["outcome"] == outcome {
				return int(m.Counter.GetValue())
			}
		}
	}
	t.Fatalf("no count of %s samples of %s", outcome, upstream)
	return 0
}
