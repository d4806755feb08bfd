package upstream

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/sigv4"

	"github.com/ringside-project/ringside/relay/wire"
)

// What the connections to one upstream are given.
const (
	userAgent       = "ringside"
	idleConnTimeout = 90 * time.Second
	writeBuffer     = 64 << 10 // bytes; most bodies leave in one system call
	maxHeader       = 64 << 10 // bytes of an answer's header
)

// newTransport returns what sends an upstream's requests. It follows no
// redirect, as http.Client would.
func newTransport(c *Config) (http.RoundTripper, error) {
	h := c.HTTPConfig
	h.FollowRedirects = false
	rt, err := config.NewRoundTripperFromConfig(h, "ringside-relay-"+c.Name, config.WithIdleConnTimeout(idleConnTimeout))
	if err != nil {
		return nil, fmt.Errorf("http_config: %w", err)
	}
	if t, plain := rt.(*http.Transport); plain {
		t.WriteBufferSize = writeBuffer
		t.MaxResponseHeaderBytes = maxHeader
	}
	if c.SigV4 != nil {
		rt = &signer{config: c.SigV4, next: rt}
	}
	return rt, nil
}

func closeIdle(rt http.RoundTripper) {
	if t, ok := rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// signer signs requests for AWS. It looks for its credentials with the first
// request, and again until it has them: at the start of a pod, the service
// that hands them out may not answer yet, and that must not keep the rest of
// the sidecar from its work.
type signer struct {
	config *sigv4.SigV4Config
	next   http.RoundTripper

	mu    sync.Mutex
	ready http.RoundTripper // nil: no credentials yet
}

func (s *signer) RoundTrip(req *http.Request) (*http.Response, error) {
	rt, err := s.signing(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("sign with sigv4: %w", err)
	}
	return rt.RoundTrip(req)
}

func (s *signer) signing(req *http.Request) (http.RoundTripper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready != nil {
		return s.ready, nil
	}
	rt, err := sigv4.NewSigV4RoundTripper(s.config, s.next, sigv4.WithContext(req.Context()))
	if err == nil {
		s.ready = rt
	}
	return rt, err
}

func (s *signer) CloseIdleConnections() { closeIdle(s.next) }

// headers returns those of every request with that message. Nobody changes
// them: a transport copies what it adds to.
func headers(c *Config, msg wire.Message) http.Header {
	contentType, version := "application/x-protobuf", "0.1.0" // as every 1.0 receiver knows them
	if msg == wire.V2 {
		contentType, version = "application/x-protobuf;proto="+string(wire.V2), "2.0.0"
	}
	h := http.Header{
		"Content-Type":                      {contentType},
		"Content-Encoding":                  {"snappy"},
		"User-Agent":                        {userAgent},
		"X-Prometheus-Remote-Write-Version": {version},
	}
	if c.Tenant.Value != "" {
		h.Set(c.Tenant.Header, string(c.Tenant.Value))
	}
	return h
}
