package agent

import (
	"context"
	"encoding/json"
	"fmt"
	stdlog "log"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

// drainer hands all targets of this member over.
type drainer interface {
	Drain(context.Context) (scrape.DrainReport, error)
	LongestInterval() time.Duration // of the jobs' scrapes
}

// handlers answer HTTP requests.
type handlers struct {
	*state
	drainer   drainer
	reload    func(context.Context) error
	quit      func() // as SIGTERM does
	relay     func() relay.Status
	uploads   func() uploader.Status
	peers     *peers
	web       webConfig
	gatherer  prometheus.Gatherer
	logger    log.Logger
	lifecycle bool
	pprof     bool
}

func (s *server) serve(h *handlers) { s.http.Handler = h.routes() }

func (h *handlers) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.servePage)
	mux.HandleFunc("GET /static/", h.serveAsset)
	mux.HandleFunc("GET /prometheus", h.openPrometheus)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Ringside is healthy.")
	})
	mux.HandleFunc("GET /-/ready", h.ready)
	mux.HandleFunc("POST /-/reload", h.serveReload)
	mux.HandleFunc("POST /-/quit", h.serveQuit)
	mux.HandleFunc("PUT /-/quit", h.serveQuit)
	mux.HandleFunc("GET /-/drain", h.drain)
	mux.HandleFunc("POST /-/drain", h.drain)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.gatherer, promhttp.HandlerOpts{
		ErrorLog: stdlog.New(log.NewStdlibAdapter(level.Warn(h.logger)), "", 0), ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /api/v1/status/cluster", h.serveCluster)
	mux.HandleFunc("GET /api/v1/status/targets", h.serveTargets)
	mux.HandleFunc("GET /api/v1/status/relay", func(w http.ResponseWriter, _ *http.Request) { h.succeed(w, h.relay()) })
	mux.HandleFunc("GET /api/v1/status/config", h.serveConfig)
	mux.HandleFunc("GET /api/v1/explain", h.serveExplain)
	mux.HandleFunc("GET /api/v1/status/uploads", func(w http.ResponseWriter, _ *http.Request) { h.succeed(w, h.uploads()) })
	mux.HandleFunc("GET /api/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, http.StatusNotFound, "not_found", "no such path: "+r.URL.Path)
	})
	if h.pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return h.guard(http.NewCrossOriginProtection().Handler(mux))
}

// envelope is what Prometheus wraps the answers of its API in.
type envelope struct {
	Status    string `json:"status"` // success or error
	Data      any    `json:"data,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (h *handlers) succeed(w http.ResponseWriter, data any) {
	h.answer(w, http.StatusOK, envelope{Status: "success", Data: data})
}

func (h *handlers) fail(w http.ResponseWriter, status int, kind, text string) {
	h.answer(w, status, envelope{Status: "error", ErrorType: kind, Error: text})
}

func (h *handlers) answer(w http.ResponseWriter, status int, e envelope) {
	body, err := json.Marshal(e)
	if err != nil {
		level.Error(h.logger).Log("msg", "render answer", "err", err)
		http.Error(w, "render answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		level.Debug(h.logger).Log("msg", "answer not read", "err", err)
	}
}

func (h *handlers) ready(w http.ResponseWriter, _ *http.Request) {
	if reasons := h.scrape.Status().NotReady; len(reasons) > 0 {
		http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "Ringside is ready.")
}

func (h *handlers) serveReload(w http.ResponseWriter, r *http.Request) {
	if err := h.reload(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "reloaded")
}

func (h *handlers) serveQuit(w http.ResponseWriter, _ *http.Request) {
	if !h.lifecycle {
		http.Error(w, "ending over HTTP is off; start with --web.enable-lifecycle", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, "Ringside hands its targets over, and ends.")
	h.quit()
}

// drained is the answer to a drain.
type drained struct {
	scrape.DrainReport
	Message string `json:"message"`
}

// drain hands all targets over and answers when peers scrape them all.
func (h *handlers) drain(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead { // which GET's pattern takes: whoever only looks is not to change anything
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !h.lifecycle {
		h.fail(w, http.StatusForbidden, "forbidden", "draining over HTTP is off; start with --web.enable-lifecycle")
		return
	}
	asPost := r.WithContext(r.Context())
	asPost.Method = http.MethodPost // it changes things, and a GET must not let another site's page do so
	if err := http.NewCrossOriginProtection().Check(asPost); err != nil {
		h.fail(w, http.StatusForbidden, "forbidden", err.Error())
		return
	}
	timeout := drainTimeout(h.drainer)
	if text := r.URL.Query().Get("timeout"); text != "" {
		var err error
		if timeout, err = parseTimeout(text); err != nil {
			h.fail(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + writeTimeout)); err != nil {
		level.Debug(h.logger).Log("msg", "extend the deadline of a drain", "err", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	report, err := h.drainer.Drain(ctx)
	if report.Handed == nil {
		report.Handed = map[string]int{}
	}
	if report.Unconfirmed == nil {
		report.Unconfirmed = []string{}
	}
	switch behind := leftBehind(report, err); {
	case behind != nil:
		h.answer(w, http.StatusServiceUnavailable, envelope{Status: "error", Data: report, ErrorType: "timeout", Error: behind.Error()})
	case report.Alone:
		h.succeed(w, drained{report, "this member is alone: nobody is there to take its targets"})
	case report.PrometheusGone:
		h.succeed(w, drained{report, "Prometheus has gone: nothing is scraped here that could be handed over"})
	default:
		h.succeed(w, drained{report, "handed over " + targetCount(report.Targets)})
	}
}

func targetCount(n int) string {
	if n == 1 {
		return "1 target"
	}
	return fmt.Sprintf("%d targets", n)
}

// parseTimeout takes 90s, 2m and, as seconds, 90.
func parseTimeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if seconds, ferr := strconv.ParseFloat(text, 64); ferr == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d <= 0 || d > time.Hour {
		return 0, fmt.Errorf("timeout=%q: give a duration above 0 and up to 1h, such as 90s", text)
	}
	return d, nil
}
