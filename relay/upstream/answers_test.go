package upstream

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestAnswers is what comes of one request of three series by its answer.
func TestAnswers(t *testing.T) {
	const one, two = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
	failed := func(status int, reason string) Result {
		return Result{Failed: samples(3), Status: status, Reason: reason}
	}
	rejected := func(status int, reason string) Result {
		return Result{Rejected: samples(3), Status: status, Reason: reason}
	}
	later := func(r Result, after time.Duration) Result { r.RetryAfter = after; return r }
	header := func(name, value string) map[string]string { return map[string]string{name: value} }
	written := func(status int, c wire.Counts) reply { return received{}.wrote(status, c) }
	in30 := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		name     string
		message  string
		answer   reply
		want     Result
		requests int
	}{
		{"200", one, reply{status: 200, body: "thanks"}, Result{Delivered: samples(3), Status: 200}, 1},
		{"202", one, reply{status: 202}, Result{Delivered: samples(3), Status: 200}, 1},
		{"204 to 2.0", two, written(204, samples(3)), Result{Delivered: samples(3), Status: 200}, 1},
		{"200 of which a part is no news", two, written(200, samples(2)), Result{Delivered: samples(3), Status: 200}, 1},
		{"500", one, reply{status: 500, body: "boom\n\tat\x00 x"}, failed(500, "receive: http://127.0.0.1:"), 1},
		{"503 with seconds", one, reply{status: 503, header: header("Retry-After", "7")}, later(failed(503, "/write: HTTP 503"), 7*time.Second), 1},
		{"503 with a date that is over", one, reply{status: 503, header: header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")}, failed(503, ""), 1},
		{"503 with nonsense", one, reply{status: 503, header: header("Retry-After", "-3")}, failed(503, ""), 1},
		{"503 for ages", one, reply{status: 503, header: header("Retry-After", "99999999999999")}, later(failed(503, ""), 24*time.Hour), 1},
		{"429", one, reply{status: 429, body: "too fast", header: header("Retry-After", "1")}, later(failed(429, "HTTP 429: too fast"), time.Second), 1},
		{"429 to 2.0", two, written(429, samples(1)), failed(429, "HTTP 429"), 1},
		{"501", two, reply{status: 501}, failed(501, "HTTP 501"), 1},
		{"301", one, reply{status: 301, header: header("Location", "http://u:secret@elsewhere/?token=secret")}, failed(503, "HTTP 301 redirects, and redirects are not followed; make the endpoint the URL that takes samples, perhaps at http://elsewhere"), 1},
		{"307", one, reply{status: 307, header: header("Location", "/login")}, failed(503, "HTTP 307 redirects"), 1},
		{"304", one, reply{status: 304}, failed(503, "HTTP 304 redirects"), 1},
		{"401", one, reply{status: 401, body: "who are you"}, rejected(401, "HTTP 401: who are you"), 1},
		{"403", two, reply{status: 403}, rejected(403, "HTTP 403"), 1},
		{"404", one, reply{status: 404}, rejected(404, "HTTP 404"), 1},
		{"415 to 1.0", one, reply{status: 415}, rejected(415, "HTTP 415"), 1},
		{"415 to both", two, reply{status: 415}, rejected(415, "HTTP 415"), 2},
		{"400 to everything", one, reply{status: 400, body: "bad"}, rejected(400, "HTTP 400: bad"), 5},
		{"409 to everything", one, reply{status: 409, body: "out of order"}, rejected(409, "HTTP 409: out of order"), 5},
		{"413 to everything", one, reply{status: 413}, rejected(413, "HTTP 413"), 5},
		{"400 to 2.0 without headers", two, reply{status: 400}, rejected(400, "HTTP 400"), 5},
		{"400 to 2.0, partial", two, written(400, samples(2)), Result{Delivered: samples(2), Rejected: samples(1), Status: 400, Reason: "HTTP 400"}, 1},
		{"409 to 2.0, partial", two, written(409, samples(0)), rejected(409, "HTTP 409"), 1},
		{"400 to 2.0 that boasts", two, written(400, samples(9)), Result{Delivered: samples(3), Status: 200}, 1},
		{"400 to 1.0 with headers", one, written(400, samples(2)), rejected(400, "HTTP 400"), 5},
		{"500 to 2.0 with headers", two, written(500, samples(2)), failed(500, "HTTP 500"), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := newReceiver(t, func(received) reply { return tc.answer })
			r := newRig(t, at(server))
			got := r.deliver(t, wire.Message(tc.message), points(3)...)
			r.want(t, got, tc.want)
			if n := len(server.all()); n != tc.requests {
				t.Errorf("%d requests, want %d", n, tc.requests)
			}
			if strings.Contains(got.Reason+r.log.String(), "secret") {
				t.Errorf("a secret is told: %s\n%s", got.Reason, r.log)
			}
			if n := r.metric(t, "ringside_relay_request_duration_seconds", `upstream="receive"`); int(n) != tc.requests {
				t.Errorf("%v requests in the histogram", n)
			}
		})
	}
	t.Run("503 with a date", func(t *testing.T) {
		server := newReceiver(t, func(received) reply { return reply{status: 503, header: header("Retry-After", in30)} })
		got := newRig(t, at(server)).deliver(t, wire.V1, points(1)...)
		if got.RetryAfter < 25*time.Second || got.RetryAfter > 30*time.Second {
			t.Errorf("retry after %s", got.RetryAfter)
		}
	})
}

func TestNetworkErrors(t *testing.T) {
	closed := newReceiver(t, nil)
	closed.Close()
	reset := newReceiver(t, func(received) reply { panic(http.ErrAbortHandler) })
	for _, tc := range []struct {
		name   string
		server *receiver
		reason string
	}{
		{"nobody there", closed, "connection refused"},
		{"reset", reset, "EOF"},
	} {
		r := newRig(t, at(tc.server))
		r.want(t, r.deliver(t, wire.V1, points(3)...), Result{Failed: samples(3), Status: 503, Reason: tc.reason})
	}
}

// TestRequest is what a request looks like.
func TestRequest(t *testing.T) {
	server := newReceiver(t, nil)
	for _, tc := range []struct {
		came        wire.Message
		configured  string
		sent        wire.Message
		contentType string
		version     string
	}{
		{wire.V1, "auto", wire.V1, "application/x-protobuf", "0.1.0"},
		{wire.V2, "auto", wire.V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"},
		{wire.V2, "prometheus.WriteRequest", wire.V1, "application/x-protobuf", "0.1.0"},
		{wire.V1, "io.prometheus.write.v2.Request", wire.V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"},
	} {
		r := newRig(t, at(server)+"protobuf_message: "+tc.configured)
		server.forget()
		r.want(t, r.deliver(t, tc.came, points(2)...), Result{Delivered: samples(2), Status: 200})
		got := server.all()[0]
		want := http.Header{
			"Content-Type": {tc.contentType}, "Content-Encoding": {"snappy"}, "User-Agent": {"ringside"},
			"X-Prometheus-Remote-Write-Version": {tc.version},
		}
		for name := range want {
			if got.header.Get(name) != want.Get(name) {
				t.Errorf("%s: %q, want %q", name, got.header.Get(name), want.Get(name))
			}
		}
		if got.message != tc.sent || strings.Join(got.series, " ") != `{__name__="m0", prometheus_replica="a"} {__name__="m1", prometheus_replica="a"}` {
			t.Errorf("sent %s %s", got.message, got.series)
		}
		if s := r.Status(); s.Sending != string(tc.sent) || s.Samples["delivered"] != 2 || s.Endpoints[0].Samples["delivered"] != 2 || s.LastError != "" {
			t.Errorf("status %+v", s)
		}
		if lag := r.metric(t, "ringside_relay_lag_seconds", ""); lag < time.Since(time.UnixMilli(sampleTime)).Seconds()-60 {
			t.Errorf("lag %v", lag)
		}
	}
}

// TestLag: a sidecar that was restarted in an outage says how far behind the
// upstream is before that has acknowledged anything; after that, the newest
// acknowledged sample counts.
func TestLag(t *testing.T) {
	for _, outage := range []int{http.StatusServiceUnavailable, http.StatusUnauthorized} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, "endpoints: [http://a/]")
			status := outage
			r.transport = memory{"a": func(received) reply { return reply{status: status} }}
			want := func(when string, lag time.Duration) {
				t.Helper()
				if got := r.metric(t, "ringside_relay_lag_seconds", ""); got != lag.Seconds() || r.Status().LagSeconds != got {
					t.Errorf("%d, %s: lag %v, want %v", outage, when, got, lag.Seconds())
				}
			}
			minute := make([]float64, 60_001) // a sample each millisecond
			old, newer := points(1), []point{{labels: []string{"__name__", "m1"}, values: minute}}
			time.Sleep(time.Until(time.UnixMilli(sampleTime).Add(time.Hour)))
			want("nothing sent", 0)
			r.deliver(t, wire.V1)
			want("metadata not taken", 0)
			r.deliver(t, wire.V1, old...)
			want("not taken", time.Hour)
			time.Sleep(time.Minute)
			r.deliver(t, wire.V1, newer...)
			want("still not taken", 61*time.Minute)
			status = http.StatusNoContent
			time.Sleep(time.Minute)
			r.deliver(t, wire.V1, newer...)
			want("taken", 61*time.Minute)
			status = outage
			time.Sleep(time.Minute)
			r.deliver(t, wire.V1, old...)
			want("not taken again", 62*time.Minute)
		})
	}
}

// TestFallback: an upstream that does not speak 2.0 gets 1.0, at once and from then on.
func TestFallback(t *testing.T) {
	old := func(status int) func(received) reply {
		return func(r received) reply {
			if r.message == wire.V2 {
				return reply{status: status, body: "what is this"}
			}
			return reply{status: 204}
		}
	}
	for _, status := range []int{415, 200, 204} {
		for _, configured := range []string{"auto", "io.prometheus.write.v2.Request"} {
			server := newReceiver(t, old(status))
			r := newRig(t, at(server)+"protobuf_message: "+configured)
			for range 3 {
				r.want(t, r.deliver(t, wire.V2, points(2)...), Result{Delivered: samples(2), Status: 200})
			}
			var messages []wire.Message
			for _, req := range server.all() {
				messages = append(messages, req.message)
			}
			if len(messages) != 4 || messages[0] != wire.V2 || messages[1] != wire.V1 || messages[3] != wire.V1 {
				t.Errorf("%d: sent %v", status, messages)
			}
			if r.Status().Sending != string(wire.V1) || !strings.Contains(r.log.String(), "does not take remote_write 2.0") {
				t.Errorf("status %+v, log %s", r.Status(), r.log)
			}
			r.onlyV1.Store(time.Now().UnixNano())
			r.deliver(t, wire.V2, points(1)...)
			if all := server.all(); all[4].message != wire.V2 {
				t.Error("2.0 is never tried again")
			}
		}
	}
}

// TestEndlessAnswer: once the status is there, the rest is not waited for.
func TestEndlessAnswer(t *testing.T) {
	for status, want := range map[int]Result{
		200: {Delivered: samples(1), Status: 200},
		500: {Failed: samples(1), Status: 500, Reason: "HTTP 500: so"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, "endpoints: [http://a/]")
			r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				words, speaker := io.Pipe()
				context.AfterFunc(req.Context(), func() { speaker.CloseWithError(req.Context().Err()) })
				go io.WriteString(speaker, "so")
				req.Body.Close()
				return &http.Response{StatusCode: status, Body: words, Request: req}, nil
			})
			start := time.Now()
			r.want(t, r.deliver(t, wire.V1, points(1)...), want)
			if took := time.Since(start); took != wordsTimeout {
				t.Errorf("%d took %s", status, took)
			}
		})
	}
}

// TestMetadataOnly: a body without series has metadata, and goes out.
func TestMetadataOnly(t *testing.T) {
	a, b, c := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	for _, text := range []string{at(a), at(a, b) + "replication_factor: 2", at(a, b, c) + "replication_factor: 2", at(a) + "tenant: {header: X, label: team}"} {
		before := len(a.all()) + len(b.all()) + len(c.all())
		r := newRig(t, text)
		r.want(t, r.deliver(t, wire.V1), Result{Status: 200})
		if n := len(a.all()) + len(b.all()) + len(c.all()) - before; n != max(1, r.config.ReplicationFactor) {
			t.Errorf("%s: %d requests", text, n)
		}
	}
	for _, s := range []*receiver{a, b, c} {
		s.Close()
	}
	r := newRig(t, at(a, b, c)+"replication_factor: 2")
	if got := r.deliver(t, wire.V1); got.Status != 503 {
		t.Errorf("nobody there: %+v", got)
	}
}

// TestInvalidSeries are counted and not sent; the others are.
func TestInvalidSeries(t *testing.T) {
	server := newReceiver(t, nil)
	r := newRig(t, at(server))
	bad := point{labels: []string{"__name__", "x", "a", "1", "a", "2"}}
	r.want(t, r.deliver(t, wire.V1, points(1)[0], bad), Result{Delivered: samples(1), Rejected: samples(1), Status: 400, Reason: "series 1: "})
	r.want(t, r.deliver(t, wire.V1, bad), Result{Rejected: samples(1), Status: 400, Reason: "series 0: "})
	if got := server.got(); len(got) != 1 || len(server.all()) != 1 {
		t.Errorf("sent %s", got)
	}
}
