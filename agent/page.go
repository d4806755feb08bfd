package agent

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/scrape"
)

const (
	targetsListed = 10      // without a search
	targetsFound  = 25      // on a page
	maxQuery      = 500     // bytes of a search
	maxPage       = 1 << 20 // of what a search finds
	maxRefresh    = 3600    // seconds
)

// servePage renders the status page. It waits for nobody: what the other
// members say is what they said when they were asked last.
func (h *handlers) servePage(w http.ResponseWriter, r *http.Request) {
	var out bytes.Buffer
	if err := page.Render(&out, h.pageModel(r)); err != nil {
		level.Error(h.logger).Log("msg", "status page", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", page.Policy)
	w.Header().Set("Cache-Control", "no-store")
	if _, err := out.WriteTo(w); err != nil {
		level.Debug(h.logger).Log("msg", "page not read", "err", err)
	}
}

func (h *handlers) pageModel(r *http.Request) *page.Model {
	status, config := h.scrape.Status(), h.config()
	m := &page.Model{
		Now:        time.Now(),
		Cluster:    h.cluster,
		Version:    version.Version,
		Prometheus: browserURL(config.inForce.Prometheus.URL, r.Host),
		Scheme:     "http",
		Interval:   h.drainer.LongestInterval(),
		Members:    h.members(),
		Gossip:     *h.snapshot(),
		Scrape:     status,
		Relay:      h.relay(),
		Uploads:    h.uploads(),
		Answers:    h.peers.answers(),
		Search:     search(r.URL.Query(), status),
		Security:   h.security(),
	}
	if r.TLS != nil {
		m.Scheme = "https"
	}
	text, err := config.inForce.Redacted()
	if err != nil {
		text = err.Error()
	}
	m.Config = page.Configuration{YAML: text, NeedsRestart: config.needsRestart, Warnings: config.inForce.Warnings()}
	if config.err != nil {
		m.Config.Error = config.err.Error()
	}
	return m
}

// search finds what the page's address asks for. Nonsense in it is left out: a
// person gets a page in any case.
func search(query url.Values, status *scrape.Status) page.Search {
	text := query.Get("q")
	text = strings.ToValidUTF8(text[:min(len(text), maxQuery)], "")
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1 // nobody types it
		}
		return c
	}, text)
	s := page.Search{Query: strings.TrimSpace(text), PerPage: targetsFound}
	if s.Query == "" {
		s.PerPage = targetsListed
	}
	var err error
	if s.Page, err = whole(query, "page", 1, maxPage); err != nil {
		s.Page = 1
	}
	if s.Refresh, err = whole(query, "refresh", 0, maxRefresh); err != nil {
		s.Refresh = 0
	}
	s.Found, s.Total = status.Explanations(scrape.Filter{Query: s.Query, Page: s.Page, Limit: s.PerPage})
	return s
}

// serveAsset serves what the page refers to. Its path changes with its content.
func (h *handlers) serveAsset(w http.ResponseWriter, r *http.Request) {
	body, kind, ok := page.Asset(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	if _, err := w.Write(body); err != nil {
		level.Debug(h.logger).Log("msg", "asset not read", "err", err)
	}
}

// openPrometheus leads to the Prometheus beside this sidecar. The pages of other
// members link here, since only this member knows where that is.
func (h *handlers) openPrometheus(w http.ResponseWriter, r *http.Request) {
	to := browserURL(h.config().inForce.Prometheus.URL, r.Host)
	if to == "" {
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// browserURL is where a browser that reached this sidecar at host reaches its
// Prometheus: one on a loopback address, at the same host.
func browserURL(prometheus, host string) string {
	u, err := url.Parse(prometheus)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", "" // may be secrets
	ip, err := netip.ParseAddr(u.Hostname())
	if loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback(); !loopback {
		return u.String()
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	if name == "" || strings.ContainsAny(name, "/\\@?#% ") {
		return u.String()
	}
	if port := u.Port(); port != "" {
		u.Host = net.JoinHostPort(name, port)
	} else if u.Host = name; strings.Contains(name, ":") {
		u.Host = "[" + name + "]"
	}
	return u.String()
}
