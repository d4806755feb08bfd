package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestSecrets: whatever of a request a receiver quotes, no secret of it gets
// into a reason, the log or the status.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("planted-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if secret := "planted-client"; !strings.Contains(fmt.Sprint(req.Header, req.PostFormValue("client_secret")), secret) && req.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token": "planted-access", "token_type": "bearer"}`)
	}))
	defer tokens.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_ = req.ParseForm()
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "no token for ", req.Form, req.Header)
	}))
	defer refusing.Close()
	for _, tc := range []struct{ name, text, shows string }{
		{"basic_auth", "http_config: {basic_auth: {username: visible, password: 'planted pass\"word'}}", ""},
		{"basic_auth from a file", "http_config: {basic_auth: {username: visible, password_file: " + file + "}}", ""},
		{"bearer", "http_config: {bearer_token: planted-bearer}", ""},
		{"authorization", "http_config: {authorization: {type: Token, credentials_file: " + file + "}}", ""},
		{"headers", "http_config: {http_headers: {X-Key: {values: [planted-1], secrets: [planted-2], files: [" + file + "]}}}", "X-Key"},
		{"tenant", "tenant: {header: X-Scope-OrgID, value: planted-tenant}", "X-Scope-Orgid"},
		{"sigv4", "sigv4: {region: eu-central-1, access_key: visible, secret_key: planted-key}", ""},
		{"oauth2", "http_config: {oauth2: {client_id: visible, client_secret: planted-client, token_url: '" + tokens.URL + "'}}", ""},
		{"oauth2 refused", "http_config: {oauth2: {client_id: visible, client_secret: planted-client, token_url: '" + refusing.URL + "', endpoint_params: {more: planted-param}}}", "no token for"},
	} {
		for _, status := range []int{400, 401, 429, 503} {
			t.Run(fmt.Sprint(tc.name, " ", status), func(t *testing.T) {
				server := newReceiver(t, nil)
				echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					_, _ = io.Copy(io.Discard, req.Body)
					w.WriteHeader(status)
					_, password, _ := req.BasicAuth()
					fmt.Fprintf(w, "at %s: %s %q", req.URL, password, password)
					_ = req.Header.WriteSubset(w, map[string]bool{"Content-Type": true, "Content-Encoding": true, "Content-Length": true, "Accept-Encoding": true, "User-Agent": true})
				}))
				defer echo.Close()
				server.Close()
				r := newRig(t, "endpoints: ['"+echo.URL+"/write?key=planted-query']\n"+tc.text)
				got := r.deliver(t, wire.V1, points(2)...)
				if got.Status == 200 || got.Reason == "" || !strings.Contains(got.Reason, tc.shows) {
					t.Errorf("got %+v", got)
				}
				if shown := fmt.Sprintf("%+v %+v %s", got, r.Status(), r.log); strings.Contains(shown, "planted") || strings.Contains(shown, "cGxhbnRlZC") {
					t.Errorf("a secret is told: %s", shown)
				}
			})
		}
	}
}

func TestScrub(t *testing.T) {
	cfg, err := parse(`{name: a, endpoints: ['http://a/?x=queried%2Fquery&y=ab'], http_config: {bearer_token: "s3cret/token", proxy_url: 'http://u:proxied@proxy'}}`)
	if err != nil {
		t.Fatal(err)
	}
	s := scrubber{&cfg}
	long := strings.Repeat("x", maxText-10)
	for _, tc := range []struct {
		words string
		cut   bool
		want  string
	}{
		{"all is well", false, "all is well"},
		{"in\n two\t lines\r\n", false, "in two lines"},
		{"bell \a and \x1b[31m red", false, "bell and [31m red"},
		{"bad \xff\xfe UTF-8", false, "bad ? UTF-8"},
		{"s3cret/token!", false, "<secret>!"},
		{"s3cret%2Ftoken!", false, "<secret>!"},
		{"queried/query or queried%2Fquery", false, "<secret> or <secret>"},
		{"ab is too short for a secret", false, "ab is too short for a secret"},
		{"via proxied", false, "via <secret>"},
		{"it began with s3cret/to", true, "it began with <secret>"},
		{"it ends with s3cret/to", false, "it ends with s3cret/to"},
		{long + "öööööööö", false, long + "ööö…"},
		{long + " s3cret/token and so on", false, long + " <secre…"},
	} {
		if got := s.text(tc.words, tc.cut, nil); got != tc.want || len(got) > maxText {
			t.Errorf("%q: got %q, want %q", tc.words, got, tc.want)
		}
	}
}

// TestLongAnswer: a secret at the very place where reading ends is not shown in part.
func TestLongAnswer(t *testing.T) {
	for shift := range 30 {
		words := strings.Repeat("planted-secret", 10) + strings.Repeat(" ", maxRead-140-shift) + strings.Repeat("planted-secret", 9)
		server := newReceiver(t, func(received) reply { return reply{status: 500, body: words} })
		r := newRig(t, at(server)+"http_config: {bearer_token: planted-secret}")
		if got := r.deliver(t, wire.V1, points(1)...); strings.Contains(got.Reason, "pla") || !strings.Contains(got.Reason, masked) {
			t.Fatalf("shift %d: %s", shift, got.Reason)
		}
	}
}

func TestDisplayed(t *testing.T) {
	u, err := url.Parse("http://u:p@host:1/path?query#fragment")
	if err != nil {
		t.Fatal(err)
	}
	if got := displayed(u); got != "http://host:1/path" {
		t.Errorf("got %s", got)
	}
}

// TestSigned: requests are signed, over the body too, and go out whole.
func TestSigned(t *testing.T) {
	server := newReceiver(t, nil)
	r := newRig(t, at(server)+"sigv4: {region: eu-central-1, access_key: AKID, secret_key: planted, service_name: aps}")
	for range 2 {
		r.want(t, r.deliver(t, wire.V1, points(2)...), Result{Delivered: samples(2), Status: 200})
	}
	for _, req := range server.all() {
		if got := req.header.Get("Authorization"); !strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKID/") || len(req.series) != 2 {
			t.Errorf("Authorization %q with %s", got, req.series)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	r = newRig(t, at(server)+"sigv4: {region: eu-central-1}")
	r.want(t, r.deliver(t, wire.V1, points(2)...), Result{Failed: samples(2), Status: 503, Reason: "sign with sigv4: could not get SigV4 credentials"})
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "planted")
	r.want(t, r.deliver(t, wire.V1, points(2)...), Result{Delivered: samples(2), Status: 200})
}

// TestTraced: the trace context goes along, and no span has a query.
func TestTraced(t *testing.T) {
	server := newReceiver(t, nil)
	r := newRig(t, at(server), func(o *Options) { o.Tracer = noop.NewTracerProvider() })
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(context.Background(), parent)
	r.want(t, r.Deliver(ctx, batch(t, r, wire.V1, points(1)...)), Result{Delivered: samples(1), Status: 200})
	if got := server.all()[0].header.Get("Traceparent"); got != "00-01000000000000000000000000000000-0200000000000000-01" {
		t.Errorf("traceparent %q", got)
	}
	if len(r.headersV1["Traceparent"]) > 0 {
		t.Error("the headers that all requests share have changed")
	}
}

// TestLinesAreRare: a line of a kind in ten seconds, and what it stands for.
func TestLinesAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "endpoints: [http://a/]")
		r.transport = memory{"a": func(received) reply { return reply{status: 429, body: "slow down"} }}
		for range 25 {
			r.deliver(t, wire.V1, points(1)...)
			time.Sleep(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], "unlogged=9") || !strings.Contains(lines[0], `err="http://a/: HTTP 429: slow down"`) {
			t.Errorf("log:\n%s", strings.Join(lines, "\n"))
		}
	})
}
