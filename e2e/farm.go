package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// farm plays targets: every address of its listener is one. It logs who scrapes
// which of them, when. At /sd it serves http_sd with the addresses of Offer.
type farm struct {
	server *http.Server
	port   string

	mtx     sync.Mutex
	log     scrapeLog
	offered []string
}

// newFarm returns a farm that serves on ln until Close.
func newFarm(ln net.Listener) (*farm, error) {
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("port of the farm: %w", err)
	}
	f := &farm{port: port}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", f.serveMetrics)
	mux.HandleFunc("/sd", f.serveSD)
	f.server = &http.Server{Handler: mux}
	go f.server.Serve(ln)
	return f, nil
}

// listenLoopback listens on all of 127.0.0.0/8 at a free port, which Linux
// allows only together with all other addresses: connections that come to one
// of those are closed at once.
func listenLoopback() (net.Listener, error) {
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the farm: %w", err)
	}
	return loopbackOnly{ln}, nil
}

type loopbackOnly struct{ net.Listener }

func (l loopbackOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if to, ok := conn.LocalAddr().(*net.TCPAddr); ok && to.IP.IsLoopback() {
			return conn, nil
		}
		conn.Close()
	}
}

// Targets returns the first n addresses of the farm in network, the first two
// bytes of an IPv4 address such as "127.7".
func (f *farm) Targets(network string, n int) []string {
	targets := make([]string, n)
	for i := range targets {
		host := fmt.Sprintf("%s.%d.%d", network, i/250, 1+i%250)
		targets[i] = net.JoinHostPort(host, f.port)
	}
	return targets
}

// Offer sets the targets that http_sd names from now on.
func (f *farm) Offer(targets []string) {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	f.offered = slices.Clone(targets)
}

// Log returns the scrapes so far, oldest first.
func (f *farm) Log() scrapeLog {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	return slices.Clip(f.log)
}

// Close ends the farm at once.
func (f *farm) Close() error { return f.server.Close() }

func (f *farm) serveMetrics(w http.ResponseWriter, r *http.Request) {
	target := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	f.mtx.Lock()
	// The clock is read under the lock, so that the log is in its order.
	now := time.Now()
	f.log = append(f.log, scrape{Time: now, Target: target, Scraper: r.Header.Get("X-Scraper")})
	f.mtx.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE farm_time_seconds gauge\nfarm_time_seconds %d\n", now.Unix())
	fmt.Fprintf(w, "# TYPE farm_series gauge\nfarm_series{n=\"1\"} 1\nfarm_series{n=\"2\"} 2\n")
}

func (f *farm) serveSD(w http.ResponseWriter, _ *http.Request) {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, fileSD(f.offered))
}

// fileSD returns targets as a file of file_sd, or an answer of http_sd.
func fileSD(targets []string) string {
	group := map[string]any{"targets": append([]string{}, targets...)}
	out, err := json.Marshal([]any{group})
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(out) + "\n"
}

// fileSource returns a prometheus.yml whose one job scrapes the targets of
// sd/farm.json, beside it, every interval. Each scrape names its pair in a
// header that is read from scraper.txt, so that the text is the same for all.
func fileSource(interval time.Duration) string {
	return farmSource(interval, "file_sd_configs: [{files: [sd/*.json]}]")
}

// httpSource is fileSource with the targets from the farm's http_sd.
func httpSource(interval time.Duration, f *farm) string {
	url := "http://127.0.0.1:" + f.port + "/sd"
	return farmSource(interval, "http_sd_configs: [{url: '"+url+"', refresh_interval: 1s}]")
}

func farmSource(interval time.Duration, discovery string) string {
	every := strconv.FormatInt(interval.Milliseconds(), 10) + "ms"
	return strings.NewReplacer("INTERVAL", every, "DISCOVERY", discovery).Replace(
		`global:
  scrape_interval: INTERVAL
  scrape_timeout: INTERVAL
scrape_configs:
  - job_name: farm
    http_headers:
      X-Scraper: {files: [scraper.txt]}
    DISCOVERY
`)
}
