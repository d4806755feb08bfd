// Package page renders the status page of a sidecar: what is known goes in, HTML comes out. It reads no clock, no
// file and no network, and nothing that it shows is trusted: names and labels come from other members and from
// service discovery. How to come by what is known, and how to serve the page, it leaves to the agent.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

// Model is all that the page shows. Render changes nothing in it.
type Model struct {
	Now        time.Time
	Cluster    string // its name
	Version    string // of this program
	Prometheus string // URL at which the reader's browser may reach the Prometheus beside this sidecar; empty: unknown
	Scheme     string // http or https: how this page was asked for, and so how the others' are
	Interval   time.Duration
	Members    []gossip.Member
	Gossip     gossip.Snapshot // but for its members
	Scrape     *scrape.Status
	Relay      relay.Status
	Uploads    uploader.Status
	Answers    map[string]Answer // by the name of the member that gave it; this member is not in it
	Search     Search
	Config     Configuration
	Security   Security
}

// Answer is what a member said of the cluster when it was asked last.
type Answer struct {
	At      time.Time // when it came, or when it was clear that none would; zero: the member has not been asked yet
	Problem string    // why there is none; empty: there is one
	TLS     bool      // the member speaks HTTPS
	View    string    // the member's, hex
	States  map[string]gossip.State
}

// Search is a page of the targets that a query finds.
type Search struct {
	Query   string
	Page    int // from 1
	PerPage int
	Refresh int // seconds after which a browser without JavaScript asks again; 0: never
	Found   []scrape.Explanation
	Total   int
}

// Configuration is ringside.yml.
type Configuration struct {
	YAML         string // in force, without secrets
	Error        string // of the last reload
	NeedsRestart []string
	Warnings     []string
}

// Security is what protects this sidecar.
type Security struct {
	TLS       bool // of the web
	Auth      bool // a password, or a client's certificate
	Lifecycle bool // /-/drain and /-/quit are served
	Pprof     bool
	Error     string // why it is not known
}

//go:embed *.html
var texts embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"t":       shown,
	"told":    told,
	"n":       number,
	"short":   digestStart,
	"seconds": seconds,
	"bytes":   size,
	"asset":   func(name string) string { return assets[name].path },
}).ParseFS(texts, "*.html"))

// Render writes the page.
func Render(w io.Writer, m *Model) error {
	if err := pageTemplate.Execute(w, newView(m)); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	return nil
}

// view is the model with all that is worked out from it.
type view struct {
	*Model
	Verdict verdict
	Rows    []memberRow
	Configs []configGroup
	Matrix  matrix
	Spread  []bar
	Mean    means
	Strip   strip
	Moves   []moveGroup
	Pages   pages
	Targets []targetRow
	Streams []upstreamRow
	Blocks  blocks
}

func newView(m *Model) *view {
	v := &view{Model: m}
	v.Matrix = newMatrix(m)
	v.Rows, v.Configs = memberRows(m)
	v.Verdict = newVerdict(m, v.Matrix, v.Configs)
	v.Spread, v.Mean = newSpread(m.Members)
	v.Strip = newStrip(m.Scrape.Moved, m.Now)
	v.Moves = groupMoves(m.Scrape.Moves)
	v.Pages = newPages(m.Search)
	v.Targets = targetRows(m.Search.Found, v.Rows)
	v.Streams = upstreamRows(m)
	v.Blocks = newBlocks(m.Uploads)
	return v
}

// Self is the name of this member.
func (v *view) Self() string { return v.Gossip.Self }

// maxJobs is how many jobs are listed, those first with which something is the matter.
const maxJobs = 100

func attention(j scrape.JobStatus) bool {
	return !j.Synced || j.Unowned > 0 || j.Invalid > 0 || j.HandOvers > 0
}

// ListedJobs are the jobs, the first of very many.
func (v *view) ListedJobs() []scrape.JobStatus {
	if len(v.Scrape.Jobs) <= maxJobs {
		return v.Scrape.Jobs
	}
	jobs := slices.Clone(v.Scrape.Jobs)
	slices.SortStableFunc(jobs, func(a, b scrape.JobStatus) int {
		switch {
		case attention(a) == attention(b):
			return 0
		case attention(a):
			return -1
		}
		return 1
	})
	return jobs[:maxJobs]
}

// MoreJobs is how many jobs are not listed.
func (v *view) MoreJobs() int { return max(0, len(v.Scrape.Jobs)-maxJobs) }

// Ago says how long before the page was made t was.
func (v *view) Ago(t time.Time) string { return ago(v.Now, t) }
