package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/relay/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const replicaLabel = "prometheus_replica"

// received is a request as a receiver got it.
type received struct {
	header  http.Header
	query   string
	message wire.Message
	size    int      // decoded
	series  []string // labels
	counts  wire.Counts
}

// has tells whether one of the series has that metric name.
func (r received) has(name string) bool {
	for _, s := range r.series {
		if strings.Contains(s, `__name__="`+name+`"`) {
			return true
		}
	}
	return false
}

// reply is what a receiver answers.
type reply struct {
	after  time.Duration // of a memory alone
	status int
	header map[string]string
	body   string
}

func (a reply) delayed(d time.Duration) reply {
	a.after = d
	return a
}

// ok is the answer to whatever was taken.
func (r received) ok() reply {
	if r.message == wire.V1 {
		return reply{status: http.StatusNoContent}
	}
	return r.wrote(http.StatusNoContent, r.counts)
}

func (r received) wrote(status int, c wire.Counts) reply {
	return reply{status: status, header: map[string]string{
		writtenHeaders[0]: fmt.Sprint(c.Samples), writtenHeaders[1]: fmt.Sprint(c.Histograms), writtenHeaders[2]: fmt.Sprint(c.Exemplars),
	}}
}

// receiver is a server that takes remote_write.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	taken    []string // series of the requests that were answered with 2xx
}

// newReceiver answers as answer says; nil takes everything.
func newReceiver(t *testing.T, answer func(received) reply) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got, err := decode(req)
		if err != nil {
			t.Errorf("a body that does not decode: %v", err)
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		r.mu.Lock()
		r.requests = append(r.requests, got)
		r.mu.Unlock()
		a := got.ok()
		if answer != nil {
			a = answer(got)
		}
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		if a.status/100 == 2 {
			r.mu.Lock()
			r.taken = append(r.taken, got.series...)
			r.mu.Unlock()
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.requests...)
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.taken...)
}

func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.taken = nil, nil
}

func decode(req *http.Request) (received, error) {
	got := received{header: req.Header, query: req.URL.RawQuery, message: wire.V1}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return got, err
	}
	if int64(len(body)) != req.ContentLength {
		return got, fmt.Errorf("content length %d of %d bytes", req.ContentLength, len(body))
	}
	raw, err := s2.Decode(nil, body)
	if err != nil {
		return got, err
	}
	got.size = len(raw)
	if strings.Contains(req.Header.Get("Content-Type"), string(wire.V2)) {
		got.message = wire.V2
		return got, got.decodeV2(raw)
	}
	return got, got.decodeV1(raw)
}

func (r *received) decodeV1(raw []byte) error {
	var m prompb.WriteRequest
	if err := m.Unmarshal(raw); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range m.Timeseries {
		r.series = append(r.series, ts.ToLabels(&b, nil).String())
		r.counts = r.counts.Add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
	}
	return nil
}

func (r *received) decodeV2(raw []byte) error {
	var m writev2.Request
	if err := m.Unmarshal(raw); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range m.Timeseries {
		lset, err := ts.ToLabels(&b, m.Symbols)
		if err != nil {
			return err
		}
		r.series = append(r.series, lset.String())
		r.counts = r.counts.Add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
	}
	return nil
}

// rig is an upstream under test.
type rig struct {
	*Upstream
	reg *prometheus.Registry
	log *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newRig makes an upstream of an entry in YAML, without its name.
func newRig(t testing.TB, text string, change ...func(*Options)) *rig {
	t.Helper()
	r, err := tryRig(t, text, change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryRig(t testing.TB, text string, change ...func(*Options)) (*rig, error) {
	t.Helper()
	cfg, err := parse("name: receive\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{reg: prometheus.NewRegistry(), log: &safeBuffer{}}
	o := Options{
		Labels:       []labels.Label{{Name: replicaLabel, Value: "a"}},
		ReplicaLabel: replicaLabel,
		Names:        wire.NewNames(replicaLabel, "team", "cluster"),
		Logger:       log.NewLogfmtLogger(r.log),
		Metrics:      NewMetrics(r.reg),
	}
	for _, f := range change {
		f(&o)
	}
	r.Upstream, err = New(cfg, o)
	if err == nil {
		t.Cleanup(func() { closeIdle(r.transport) })
	}
	return r, err
}

// at is the one endpoint of an upstream.
func at(servers ...*receiver) string {
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL+"/write")
	}
	return "endpoints: [" + strings.Join(urls, ", ") + "]\n"
}

// point is one series with samples at these times.
type point struct {
	labels []string // name, value, …
	values []float64
}

// points makes n series m0, m1, … of one sample.
func points(n int) []point {
	var all []point
	for i := range n {
		all = append(all, point{labels: []string{"__name__", fmt.Sprintf("m%d", i)}})
	}
	return all
}

const sampleTime = 1_700_000_000_000

func batch(t testing.TB, r *rig, msg wire.Message, all ...point) *wire.Batch {
	t.Helper()
	var raw []byte
	var err error
	if msg == wire.V1 {
		raw, err = requestV1(all).Marshal()
	} else {
		raw, err = requestV2(all).Marshal()
	}
	if err != nil {
		t.Fatal(err)
	}
	b := new(wire.Batch)
	if err := b.Parse(msg, raw, r.options.Names); err != nil {
		t.Fatal(err)
	}
	return b
}

func (p point) samples() []float64 {
	if p.values == nil {
		return []float64{1}
	}
	return p.values
}

func requestV1(all []point) *prompb.WriteRequest {
	m := &prompb.WriteRequest{}
	for _, p := range all {
		ts := prompb.TimeSeries{}
		for i := 0; i < len(p.labels); i += 2 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: p.labels[i], Value: p.labels[i+1]})
		}
		for i, v := range p.samples() {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: v, Timestamp: sampleTime + int64(i)})
		}
		m.Timeseries = append(m.Timeseries, ts)
	}
	return m
}

func requestV2(all []point) *writev2.Request {
	table := writev2.NewSymbolTable()
	m := &writev2.Request{}
	for _, p := range all {
		ts := writev2.TimeSeries{}
		for _, s := range p.labels {
			ts.LabelsRefs = append(ts.LabelsRefs, table.Symbolize(s))
		}
		for i, v := range p.samples() {
			ts.Samples = append(ts.Samples, writev2.Sample{Value: v, Timestamp: sampleTime + int64(i)})
		}
		m.Timeseries = append(m.Timeseries, ts)
	}
	m.Symbols = table.Symbols()
	return m
}

func samples(n int) wire.Counts { return wire.Counts{Samples: n} }

// deliver is Deliver of points.
func (r *rig) deliver(t testing.TB, msg wire.Message, all ...point) Result {
	t.Helper()
	return r.Deliver(context.Background(), batch(t, r, msg, all...))
}

func (r *rig) want(t *testing.T, got, want Result) {
	t.Helper()
	if got.Delivered != want.Delivered || got.Rejected != want.Rejected || got.Failed != want.Failed || got.Status != want.Status || got.RetryAfter != want.RetryAfter {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !strings.Contains(got.Reason, want.Reason) || (want.Status != http.StatusOK) != (got.Reason != "") {
		t.Errorf("reason %q, want %q in it", got.Reason, want.Reason)
	}
}

// metric is the value of a metric with these labels, name="value",…, or -1.
func (r *rig) metric(t *testing.T, name, having string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if f.GetName() == name && strings.Contains(strings.Join(pairs, ","), having) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return -1
}

// memory is a transport without a network: what each host answers.
type memory map[string]func(received) reply

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	got, err := decode(req)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	a := m[req.URL.Hostname()](got)
	timer := time.NewTimer(a.after)
	defer timer.Stop()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-timer.C:
		if a.status == 0 {
			return nil, errors.New("connection reset")
		}
		w := httptest.NewRecorder()
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
		res := w.Result()
		res.Request = req
		return res, nil
	}
}
