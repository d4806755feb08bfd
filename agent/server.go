package agent

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/ringside-project/ringside/scrape"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	writeTimeout      = time.Minute      // of an answer; a drain and a profile extend it
	bodyTimeout       = 10 * time.Second // for a body to be there, though none is read
	stopTimeout       = 5 * time.Second  // for requests under way when the agent stops
	maxHeaderBytes    = 64 << 10
	maxBodyBytes      = 64 << 10 // no request has a body that is read
)

// server is the HTTP server, bound to its address.
type server struct {
	listener net.Listener
	http     *http.Server
	flags    *web.FlagConfig
	logger   log.Logger
}

// listen checks the web configuration, if there is one, and binds the address.
func listen(opts Options, logger log.Logger) (*server, error) {
	if err := web.Validate(opts.WebConfigFile); err != nil {
		return nil, fmt.Errorf("web configuration %s: %w", opts.WebConfigFile, err)
	}
	l, err := net.Listen("tcp", opts.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("bind --web.listen-address: %w; free the address or give another one", err)
	}
	addresses := []string{opts.ListenAddress}
	logger = log.With(logger, "component", "web")
	return &server{
		listener: l,
		flags:    &web.FlagConfig{WebListenAddresses: &addresses, WebConfigFile: &opts.WebConfigFile},
		logger:   logger,
		http: &http.Server{
			ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:       idleTimeout,
			WriteTimeout:      writeTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          stdlog.New(log.NewStdlibAdapter(level.Warn(logger)), "", 0),
		},
	}, nil
}

// run serves until ctx ends, and finishes the requests under way.
func (s *server) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- web.Serve(s.listener, s.http, s.flags, scrape.Slog(s.logger)) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		level.Warn(s.logger).Log("msg", "requests cut off at shutdown", "err", err)
		s.http.Close()
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// guard is what every answer and every request goes through.
func (h *handlers) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if r.ContentLength != 0 { // the server waits for it before it answers
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
				level.Debug(h.logger).Log("msg", "bound the time for a body", "err", err)
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r)
	})
}
