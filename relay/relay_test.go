package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// running is a relay that serves until the test ends, or stop is called.
type running struct {
	*Relay
	t      *testing.T
	reg    *prometheus.Registry
	log    *logLines
	client *http.Client
	stop   func() error
}

func start(t *testing.T, feedback func([]Sample)) *running {
	t.Helper()
	cfg := DefaultConfig
	cfg.ListenAddress = "127.0.0.1:0"
	return startWith(t, cfg, Options{Feedback: feedback, ReplicaLabel: "prometheus_replica", Node: "a"})
}

func startWith(t *testing.T, cfg Config, o Options) *running {
	t.Helper()
	r := &running{t: t, reg: prometheus.NewRegistry(), log: new(logLines), client: &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}}
	var err error
	if r.Relay, err = New(cfg, o, log.NewLogfmtLogger(r.log), r.reg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		defer r.client.CloseIdleConnections()
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// post sends a body as Prometheus does, but for what edit changes. It may be
// called from any goroutine.
func (r *running) post(contentType string, body io.Reader, edit func(*http.Request)) (*http.Response, string) {
	req, err := http.NewRequest(http.MethodPost, "http://"+r.Addr().String()+"/api/v1/feedback", body)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "snappy")
	if edit != nil {
		edit(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Error(err)
		return new(http.Response), ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Error(err)
	}
	return resp, string(text)
}

func snappy(body []byte) io.Reader { return bytes.NewReader(s2.EncodeSnappy(nil, body)) }

func TestFeedback(t *testing.T) {
	for _, tc := range []struct {
		name, contentType string
		body              []byte
		written           string // samples, histograms, exemplars of the answer's headers
	}{
		{"1.0", typeV1, bodyV1(), "  "},
		{"1.0, named", typeV1 + "; proto=prometheus.WriteRequest", bodyV1(), "  "},
		{"2.0", typeV2, bodyV2(), "7 2 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []Sample
			r := start(t, func(samples []Sample) { got = samples })
			resp, text := r.post(tc.contentType, snappy(tc.body), nil)
			if resp.StatusCode != http.StatusNoContent {
				t.Fatalf("got %s: %s", resp.Status, text)
			}
			compare(t, got, wantSamples())
			if written := writtenHeaders(resp); written != tc.written {
				t.Errorf("answer says %q was written, want %q", written, tc.written)
			}
			status := r.Status()
			if fb := status.Feedback; fb.Requests != 1 || fb.Rejected != 0 || fb.LastSamples == nil || status.ListenAddress != r.Addr().String() {
				t.Errorf("status is %+v", status)
			}
			if n := testutil.ToFloat64(r.metrics.samples.WithLabelValues("up")); n != 4 {
				t.Errorf("counted %v samples of up, want 4", n)
			}
			if at := testutil.ToFloat64(r.metrics.lastSample); at != 2.5 {
				t.Errorf("newest sample is of %v s, want 2.5", at)
			}
		})
	}
}

func writtenHeaders(resp *http.Response) string {
	var of []string
	for _, what := range []string{"Samples", "Histograms", "Exemplars"} {
		of = append(of, resp.Header.Get("X-Prometheus-Remote-Write-"+what+"-Written"))
	}
	return strings.Join(of, " ")
}

// A request with nothing for the receiver is as good as any other: metadata,
// or a sender without the write_relabel_configs of the generated file.
func TestFeedbackWithoutSamples(t *testing.T) {
	r := start(t, func([]Sample) { t.Error("called without samples") })
	for _, contentType := range []string{typeV1, typeV2} {
		if resp, text := r.post(contentType, snappy(nil), nil); resp.StatusCode != http.StatusNoContent {
			t.Errorf("got %s: %s", resp.Status, text)
		}
	}
	if status := r.Status().Feedback; status.Requests != 2 || status.LastSamples != nil {
		t.Errorf("status is %+v", status)
	}
}

func TestRejects(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(req *http.Request) { req.Header.Set(name, value) }
	}
	claim := func(size uint64, length int) io.Reader {
		return bytes.NewReader(binary.AppendUvarint(make([]byte, 0, length), size)[:length])
	}
	v1 := func(ts ...prompb.TimeSeries) io.Reader { return snappy(marshal(&prompb.WriteRequest{Timeseries: ts})) }
	v2 := func(symbols []string, refs ...uint32) io.Reader {
		return snappy(marshal(&writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{{LabelsRefs: refs}}}))
	}
	up := prompb.Label{Name: "__name__", Value: "up"}
	empty := func(field byte) []byte { return bytes.Repeat([]byte{field<<3 | 2, 0}, 1<<18+1) }
	one := func(field byte, msg []byte) []byte {
		return append(binary.AppendUvarint([]byte{field<<3 | 2}, uint64(len(msg))), msg...)
	}

	for _, tc := range []struct {
		name, contentType string
		body              io.Reader
		edit              func(*http.Request)
		status            int
		reason, text      string
	}{
		{"GET", typeV1, nil, func(req *http.Request) { req.Method = http.MethodGet }, 405, "method", "POST"},
		{"no content type", "", snappy(bodyV1()), nil, 415, "media_type", `Content-Type "" is not spoken here`},
		{"JSON", "application/json", snappy(bodyV1()), nil, 415, "media_type", "send application/x-protobuf"},
		{"a third version", typeV1 + ";proto=io.prometheus.write.v3.Request", snappy(bodyV1()), nil, 415, "media_type", "proto=io.prometheus.write.v2.Request"},
		{"broken content type", typeV1 + ";;=", snappy(bodyV1()), nil, 415, "media_type", "is not spoken here"},
		{"zstd", typeV1, snappy(bodyV1()), header("Content-Encoding", "zstd"), 415, "media_type", `Content-Encoding "zstd" is not spoken here; send snappy`},
		{"no encoding", typeV1, snappy(bodyV1()), func(req *http.Request) { req.Header.Del("Content-Encoding") }, 415, "media_type", "send snappy"},

		{"4 KB that claim 4 GB", typeV1, claim(1<<32-1, 4<<10), nil, 413, "too_large", "33554432 bytes"},
		{"4 KB that claim 32 MB", typeV1, claim(32<<20, 4<<10), nil, 400, "malformed", "4096 bytes cannot hold the 33554432"},
		{"a long body, said so", typeV1, bytes.NewReader(make([]byte, 32<<20+1)), header("Expect", "100-continue"), 413, "too_large", "33554432 bytes"},
		{"a long body, in chunks", typeV2, io.LimitReader(zeros{}, 32<<20+1), nil, 413, "too_large", "33554432 bytes"},
		{"too many samples", typeV1, snappy(one(1, empty(2))), nil, 413, "too_large", "more than 262144"},
		{"too many labels", typeV1, snappy(one(1, empty(1))), nil, 413, "too_large", "more than 262144"},
		{"too many symbols", typeV2, snappy(empty(4)), nil, 413, "too_large", "more than 262144"},

		{"no body", typeV1, nil, nil, 400, "malformed", "decode snappy"},
		{"not snappy", typeV1, strings.NewReader("\x10garbage"), nil, 400, "malformed", "decode snappy"},
		{"cut protobuf", typeV1, snappy(bodyV1()[:40]), nil, 400, "malformed", "decode prometheus.WriteRequest: unexpected EOF"},
		{"cut protobuf, 2.0", typeV2, snappy(bodyV2()[:40]), nil, 400, "malformed", "decode io.prometheus.write.v2.Request: unexpected EOF"},
		{"wrong wire type", typeV1, snappy([]byte{1 << 3, 0}), nil, 400, "malformed", "field 1 has wire type 0, not 2"},
		{"a label twice", typeV1, v1(prompb.TimeSeries{Labels: []prompb.Label{up, up}}), nil, 400, "malformed", "a label twice"},
		{"not UTF-8", typeV1, v1(prompb.TimeSeries{Labels: []prompb.Label{up, {Name: "a", Value: "\xff"}}}), nil, 400, "malformed", "UTF-8"},
		{"symbol out of range", typeV2, v2([]string{"", "__name__"}, 1, 2), nil, 400, "malformed", "label reference 2 is outside of the 2 symbols"},
		{"no symbols", typeV2, v2(nil, 0, 0), nil, 400, "malformed", "outside of the 0 symbols"},
		{"half a label", typeV2, v2([]string{"", "__name__", "up"}, 1, 2, 1), nil, 400, "malformed", "without a partner"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := start(t, func([]Sample) { t.Error("handed on samples of a rejected request") })
			resp, text := r.post(tc.contentType, tc.body, tc.edit)
			if resp.StatusCode != tc.status || !strings.Contains(text, tc.text) || strings.Count(text, "\n") != 1 {
				t.Errorf("got %s: %s, want %d: %s", resp.Status, text, tc.status, tc.text)
			}
			if tc.contentType == typeV2 && writtenHeaders(resp) != "0 0 0" {
				t.Errorf("answer says %q was written", writtenHeaders(resp))
			}
			if n := testutil.ToFloat64(r.metrics.feedback.rejected.WithLabelValues(tc.reason)); n != 1 {
				t.Errorf("counted %v rejected for %s, want 1", n, tc.reason)
			}
			if n := testutil.CollectAndCount(r.metrics.feedback.rejected); n != 6 {
				t.Errorf("%d reasons, want the 6 that are there from the start", n)
			}
			status := r.Status().Feedback
			if status.Requests != 1 || status.Rejected != 1 || !strings.Contains(status.LastError, tc.text) {
				t.Errorf("status is %+v", status)
			}
		})
	}
}

// zeros is an endless stream whose length nobody knows beforehand.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestRejectionsAreLoggedSeldom(t *testing.T) {
	r := start(t, nil)
	for range 20 {
		r.post(typeV1, strings.NewReader("garbage"), nil)
	}
	lines := r.log.containing("request rejected")
	if len(lines) != 1 || !strings.Contains(lines[0], "reason=malformed") {
		t.Errorf("logged %q, want one line", lines)
	}
	if n := testutil.ToFloat64(r.metrics.feedback.requests.WithLabelValues("rejected")); n != 20 {
		t.Errorf("counted %v, want 20", n)
	}
}

// Requests that hang in the receiver hold up neither memory nor the answer to
// others: those are told to come again.
func TestOverload(t *testing.T) {
	release := make(chan struct{})
	r := start(t, func([]Sample) { <-release })
	codes := make(chan int)
	for range maxConcurrent + 1 {
		go func() {
			resp, _ := r.post(typeV1, snappy(bodyV1()), nil)
			codes <- resp.StatusCode
		}()
	}
	if code := <-codes; code != http.StatusServiceUnavailable {
		t.Errorf("the first to be answered got %d, want 503", code)
	}
	close(release)
	for range maxConcurrent {
		if code := <-codes; code != http.StatusNoContent {
			t.Errorf("got %d, want 204", code)
		}
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, func([]Sample) { close(entered); <-release })
	code := make(chan int)
	go func() {
		resp, _ := r.post(typeV2, snappy(bodyV2()), nil)
		code <- resp.StatusCode
	}()
	<-entered
	stopped := make(chan error)
	go func() { stopped <- r.stop() }()
	for listening := true; listening; { // until the shutdown has begun
		conn, err := net.Dial("tcp", r.Addr().String())
		if listening = err == nil; listening {
			conn.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("Run returned (%v) with a request under way", err)
	default:
	}
	close(release)
	if got := <-code; got != http.StatusNoContent {
		t.Errorf("got %d, want 204", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestNewBinds(t *testing.T) {
	r := start(t, nil)
	cfg := DefaultConfig
	cfg.ListenAddress = r.Addr().String()
	_, err := New(cfg, Options{}, log.NewNopLogger(), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "relay.listen_address: listen tcp "+cfg.ListenAddress) {
		t.Errorf("a port in use: got %v", err)
	}
	cfg.ListenAddress = "127.0.0.1"
	if _, err = New(cfg, Options{}, log.NewNopLogger(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "relay.listen_address:") {
		t.Errorf("no port: got %v", err)
	}
}

func TestMetricsLint(t *testing.T) {
	r := start(t, nil)
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// logLines is a log to look at while it is written.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) containing(text string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}
