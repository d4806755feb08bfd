package agent

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"github.com/ringside-project/ringside/scrape"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pagePolicy lets the page use its own style, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

type pageData struct {
	clusterJSON
	Style    template.CSS
	Version  string
	NotReady []string
	Jobs     []scrape.JobStatus
	Source   scrape.SourceStatus
	Error    string // of the last reload of ringside.yml
}

// page is the landing page: what stands, and where to look.
func (h *handlers) page(w http.ResponseWriter, _ *http.Request) {
	status := h.scrape.Status()
	data := pageData{
		clusterJSON: h.clusterJSON(),
		Style:       template.CSS(pageStyle),
		Version:     version.Version,
		NotReady:    status.NotReady,
		Jobs:        status.Jobs,
		Source:      status.Source,
	}
	if err := h.config().err; err != nil {
		data.Error = err.Error()
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, data); err != nil {
		level.Error(h.logger).Log("msg", "render page", "err", err)
		http.Error(w, "render page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	if _, err := out.WriteTo(w); err != nil {
		level.Debug(h.logger).Log("msg", "page not read", "err", err)
	}
}

// Verdict says in a line how the cluster is, as this member sees it.
func (d pageData) Verdict() string {
	switch {
	case len(d.NotReady) > 0:
		return "Not ready: " + strings.Join(d.NotReady, "; ")
	case !d.Settled:
		return "Not settled: " + d.Unsettled
	}
	return "Settled: all active members agree, and their targets are seen to be scraped."
}
