package page_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/net/html"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

var now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

const view = "abcdef0123456789" // that of all members

// healthy is a fleet of n members in which nothing is wrong, with t targets.
func healthy(n, t int) *page.Model {
	m := &page.Model{
		Now: now, Cluster: "prod", Version: "0.1.0", Prometheus: "http://10.0.0.1:9090", Scheme: "http", Interval: 15 * time.Second,
		Gossip: gossip.Snapshot{Self: "member-0", Known: true, Encrypted: true},
		Scrape: &scrape.Status{
			Facts: scrape.Facts{State: scrape.Active, PrometheusReady: true, View: 0xabcdef0123456789, AppliedView: 0xabcdef0123456789},
			Jobs:  []scrape.JobStatus{{Job: "node", Synced: true, Targets: t, Local: t / n}},
		},
		Answers: map[string]page.Answer{},
		Search:  page.Search{Page: 1, PerPage: 10, Total: t},
		Config:  page.Configuration{YAML: "cluster:\n  name: prod\n"},
	}
	states := map[string]gossip.State{}
	for i := range n {
		name := fmt.Sprintf("member-%d", i)
		states[name] = gossip.Active
		m.Members = append(m.Members, gossip.Member{Name: name, Address: fmt.Sprintf("10.0.0.%d:7946", i+1), Facts: gossip.Facts{
			Zone: "z", HTTPAddress: fmt.Sprintf("10.0.0.%d:9590", i+1), Version: "0.1.0", State: gossip.Active, PrometheusReady: true,
			Targets: t / n, Series: int64(t), ConfigHash: 7, View: 0xabcdef0123456789, AppliedView: 0xabcdef0123456789,
		}})
		if i > 0 {
			m.Answers[name] = page.Answer{At: now.Add(-time.Second), View: view, States: states}
		}
	}
	for i := range min(10, t) {
		m.Search.Found = append(m.Search.Found, explanation(i, m.Members))
	}
	return m
}

func explanation(i int, members []gossip.Member) scrape.Explanation {
	var order []string
	for k := range members {
		order = append(order, members[(i+k)%len(members)].Name)
	}
	return scrape.Explanation{
		Target: scrape.Target{
			Job: "node", ScrapeURL: fmt.Sprintf("http://10.1.%d.%d:9100/metrics", i/256, i%256), Key: fmt.Sprintf("key-%d", i),
			Labels: labels.FromStrings("app", "ledger"), Owners: order[:1], Phase: scrape.PhaseActive,
		},
		Order: order, Next: order[1:2], KeyRule: "the rule", Why: "first in the order", Discovery: "0",
	}
}

// upstreams are as the status API gives them.
func upstreams(t testing.TB, text string) relay.Status {
	t.Helper()
	var s relay.Status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func render(t testing.TB, m *page.Model) (text string, doc *html.Node) {
	t.Helper()
	var out bytes.Buffer
	if err := page.Render(&out, m); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), doc
}

// element is the one with that id.
func element(doc *html.Node, id string) *html.Node {
	for n := range doc.Descendants() {
		if attribute(n, "id") == id {
			return n
		}
	}
	return &html.Node{}
}

// inside is the text in the element with that id.
func inside(doc *html.Node, id string) string { return textOf(element(doc, id)) }

// textOf is the text in an element, with single spaces, and one between cells.
func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		switch {
		case d.Type == html.TextNode:
			b.WriteString(d.Data)
		case d.Data == "td" || d.Data == "th" || d.Data == "dt" || d.Data == "dd":
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// rows is the text of each row of the table in the element with that id.
func rows(doc *html.Node, id string) []string {
	var all []string
	for n := range element(doc, id).Descendants() {
		if n.Data == "tr" {
			all = append(all, textOf(n))
		}
	}
	return all
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

const (
	fineUpstream = `{"upstreams":[{"name":"central","required":true,"samples":{"delivered":9},"lag_seconds":3,"endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	oneOpen      = `{"upstreams":[{"name":"central","lag_seconds":3,"endpoints":[{"url":"http://r/","breaker":"closed"},{"url":"http://s/","breaker":"open"}]}]}`
	late         = `{"upstreams":[{"name":"central","lag_seconds":300,"endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	failing      = `{"upstreams":[{"name":"central","last_error":"503 from r","last_error_time":"2026-03-01T02:59:50Z","endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	recovered    = `{"upstreams":[{"name":"central","samples":{"delivered":9},"last_error":"503 from r","last_error_time":"2026-03-01T02:50:00Z","endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	idle         = `{"feedback":{"last_samples":"2026-03-01T02:59:58Z"},"upstreams":[{"name":"central","endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	allFiltered  = `{"feedback":{"last_samples":"2026-03-01T02:59:58Z"},"upstreams":[{"name":"central","samples":{"filtered":7},"endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	neverTaken   = `{"upstreams":[{"name":"central","last_error":"connection refused","last_error_time":"2026-03-01T02:50:00Z","endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
	badRing      = `{"upstreams":[{"name":"central","hashring":{"error":"not JSON"},"endpoints":[{"url":"http://r/","breaker":"closed"}]}]}`
)

// TestVerdict: one line, and what is wrong. An empty reason means that nothing is.
func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*page.Model)
		line   string
		reason string
	}{
		{"well", func(*page.Model) {}, "3/3 members agree · 60/60 targets owned · 0 hand-overs pending · uploads off · relay off", ""},
		{"all parts", func(m *page.Model) {
			m.Relay, m.Uploads.Bucket = upstreams(t, fineUpstream), &uploader.BucketStatus{Reachable: true}
		}, "3/3 members agree · 60/60 targets owned · 0 hand-overs pending · uploads current · relay current", ""},
		{"dead", func(m *page.Model) { m.Members[1].State = gossip.Dead }, "2/3 members agree", "member-1 is dead"},
		{"left is no harm", func(m *page.Model) { m.Members[2].State = gossip.Left }, "2/2 members agree", ""},
		{"unready", func(m *page.Model) { m.Members[1].State = gossip.Unready }, "2/3 members agree", "its Prometheus does not answer"},
		{"joining", func(m *page.Model) { m.Members[1].State = gossip.Joining }, "2/3 members agree", "member-1 is joining"},
		{"other view", func(m *page.Model) { m.Members[1].View = 1 }, "2/3 members agree", "member-1 has another view"},
		{"not applied", func(m *page.Model) { m.Members[1].AppliedView = 0 }, "2/3 members agree", "member-1 has yet to be seen"},
		{"frozen", func(m *page.Model) { m.Scrape.Frozen = true }, "3/3 members agree", "frozen"},
		{"membership unknown", func(m *page.Model) { m.Gossip.Known = false }, "3/3 members agree", "not known yet"},
		{"it does not see me", func(m *page.Model) {
			m.Answers["member-1"].States["member-0"] = gossip.Dead
		}, "1/3 members agree", "member-1 sees member-0 as dead"},
		{"it sees more", func(m *page.Model) {
			m.Answers["member-1"] = page.Answer{At: now, View: view, States: map[string]gossip.State{
				"member-0": gossip.Active, "member-1": gossip.Active, "member-2": gossip.Active, "ghost": gossip.Active,
			}}
		}, "2/3 members agree", "member-1 sees ghost, which this member does not know"},
		{"it said so long ago", func(m *page.Model) {
			m.Answers["member-1"] = page.Answer{At: now.Add(-time.Hour), View: view, States: map[string]gossip.State{}}
		}, "3/3 members agree", ""},
		{"a dead one answers", func(m *page.Model) { m.Members[1].State = gossip.Dead }, "1/3 members agree", "sees member-1 as active, this member as dead"},
		{"unowned", func(m *page.Model) { m.Scrape.Jobs[0].Unowned = 2 }, "58/60 targets owned", "2 targets of job node without an owner"},
		{"hand-over", func(m *page.Model) { m.Scrape.Jobs[0].HandOvers = 1 }, "1 hand-over pending", "1 target of job node on the way"},
		{"bucket away", func(m *page.Model) { m.Uploads.Bucket = &uploader.BucketStatus{Error: "no such host"} }, "uploads not current", "no such host"},
		{"bucket not asked", func(m *page.Model) { m.Uploads.Bucket = &uploader.BucketStatus{} }, "uploads not current", "has not answered yet"},
		{"late block", func(m *page.Model) {
			m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{Reachable: true}, LagSeconds: 9000, OverdueSeconds: 3600}
		}, "uploads not current", "waited for the bucket for 60 min"},
		{"refused block", func(m *page.Model) {
			m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{Reachable: true}, Blocks: []uploader.BlockStatus{{State: "refused"}}}
		}, "uploads not current", "1 block is refused"},
		{"flush failed", func(m *page.Model) {
			m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{Reachable: true}, Flush: uploader.FlushStatus{State: "failed", Error: "torn"}}
		}, "uploads not current", "flush of the head: torn"},
		{"open breaker", func(m *page.Model) { m.Relay = upstreams(t, oneOpen) }, "relay not current", "1 of 2 endpoints unused for now"},
		{"lag", func(m *page.Model) { m.Relay = upstreams(t, late) }, "relay not current", "acknowledged is 5 min old"},
		{"failing", func(m *page.Model) { m.Relay = upstreams(t, failing) }, "relay not current", "503 from r"},
		{"recovered", func(m *page.Model) { m.Relay = upstreams(t, recovered) }, "relay current", ""},
		{"nothing sent yet", func(m *page.Model) {
			m.Relay, m.Scrape.Source = upstreams(t, idle), scrape.SourceStatus{PrometheusLoaded: true, LastReload: now.Add(-time.Minute)}
		}, "uploads off · nothing sent yet to central", ""},
		{"nothing sent for long", func(m *page.Model) {
			m.Relay, m.Scrape.Source = upstreams(t, idle), scrape.SourceStatus{PrometheusLoaded: true, LastReload: now.Add(-5 * time.Minute)}
		}, "relay not current", "Prometheus has sent nothing for it since it was told to, 5 min ago"},
		{"nothing to send for long", func(m *page.Model) {
			m.Relay, m.Scrape.Source = upstreams(t, idle), scrape.SourceStatus{PrometheusLoaded: true, LastReload: now.Add(-5 * time.Minute)}
			m.Relay.Feedback.LastSamples = nil
		}, "nothing sent yet to central", ""},
		{"all filtered for long", func(m *page.Model) {
			m.Relay, m.Scrape.Source = upstreams(t, allFiltered), scrape.SourceStatus{PrometheusLoaded: true, LastReload: now.Add(-5 * time.Minute)}
		}, "nothing sent yet to central", ""},
		{"never taken", func(m *page.Model) { m.Relay = upstreams(t, neverTaken) }, "relay not current", "connection refused"},
		{"hashring", func(m *page.Model) { m.Relay = upstreams(t, badRing) }, "relay not current", "hashring: not JSON"},
		{"not ready", func(m *page.Model) { m.Scrape.NotReady = []string{"Prometheus is not ready"} }, "not ready", "Prometheus is not ready"},
		{"bad source", func(m *page.Model) { m.Scrape.Source.LastError = "line 7" }, "source refused", "prometheus.yml: line 7"},
		{"bad ringside.yml", func(m *page.Model) { m.Config.Error = "line 3" }, "ringside.yml refused", "line 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := healthy(3, 60)
			tc.change(m)
			if tc.name == "dead" {
				for _, a := range m.Answers {
					a.States["member-1"] = gossip.Dead
				}
				delete(m.Answers, "member-1")
			}
			_, doc := render(t, m)
			got := inside(doc, "verdict")
			good := strings.Contains(got, "All is well")
			if !strings.Contains(got, tc.line) || !strings.Contains(got, tc.reason) || good != (tc.reason == "") {
				t.Errorf("%q; want %q and %q", got, tc.line, tc.reason)
			}
		})
	}
}

// TestProblems: what somebody should look at turns nothing red.
func TestProblems(t *testing.T) {
	m := healthy(3, 60)
	m.Members[1].ConfigHash, m.Members[2].ConfigHash = 8, 0
	m.Scrape.Jobs[0].Invalid = 4
	m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{Reachable: true}, Warnings: []string{"no delay file"}}
	m.Config.NeedsRestart = []string{"cluster"}
	_, doc := render(t, m)
	got := inside(doc, "verdict")
	for _, want := range []string{"All is well", "2 different sources", "in job node (4)", "no delay file", "changes of cluster take effect only"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// TestAnyNumber: a member may say any number of itself.
func TestAnyNumber(t *testing.T) {
	m := healthy(3, 60)
	for i := range m.Members {
		m.Members[i].Series, m.Members[i].CapacitySeries, m.Members[i].Targets = math.MaxInt64, int64(i), math.MaxInt32
	}
	text, _ := render(t, m)
	for _, bad := range []string{"NaN", "Inf", "(-", `width="-`} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is on the page", bad)
		}
	}
}

// TestNothingYet renders a sidecar that has just been started.
func TestNothingYet(t *testing.T) {
	_, doc := render(t, &page.Model{
		Now: now, Cluster: "prod", Scheme: "http", Scrape: &scrape.Status{NotReady: []string{"starting"}},
		Gossip: gossip.Snapshot{Self: "a"}, Members: []gossip.Member{{Name: "a"}}, Search: page.Search{Page: 1, PerPage: 10},
	})
	for id, want := range map[string]string{
		"verdict": "who else is a member is not known yet", "found": "No target has been discovered", "moves": "No target has changed its owner",
		"jobs": "No configuration has been read yet", "relay": "Off", "uploads": "Off",
	} {
		if got := inside(doc, id); !strings.Contains(got, want) {
			t.Errorf("%s: %q; want %q", id, got, want)
		}
	}
}

// TestMoves: what went the same way at once is one line, and the picture holds all.
func TestMoves(t *testing.T) {
	m := healthy(3, 60)
	for i := range 30 {
		m.Scrape.Moves = append(m.Scrape.Moves, scrape.Move{Time: now.Add(-10 * time.Second), Job: "node", ScrapeURL: fmt.Sprintf("http://t%d/", i), From: "member-1", To: "member-2", Reason: "crash"})
	}
	m.Scrape.Moves = append(m.Scrape.Moves, scrape.Move{Time: now.Add(-5 * time.Second), Job: "node", ScrapeURL: "http://t99/", To: "member-1", Reason: "join"})
	m.Scrape.Moved = []scrape.MoveCount{{Time: now.Add(-4 * time.Hour), Reason: "leave", Moves: 7}, {Time: now.Add(-15 * time.Second), Reason: "crash", Moves: 30}, {Time: now.Add(-15 * time.Second), Reason: scrape.FirstOwner, Moves: 1}}
	_, doc := render(t, m)
	got := inside(doc, "moves")
	for _, want := range []string{"37 changes of owner and 1 first owner in the last 6 h: crash 30, first 1, leave 7.", "30 targets", "and 10 more", "http://t99/", "nobody", "10 s ago"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	for n := range doc.Descendants() {
		if n.Data == "rect" && (strings.HasPrefix(attribute(n, "y"), "-") || strings.Contains(attribute(n, "height"), "NaN")) {
			t.Errorf("a bar at %s, %s high", attribute(n, "y"), attribute(n, "height"))
		}
	}
}

// TestFirstOwners: who gets a target that nobody had takes it from nobody.
func TestFirstOwners(t *testing.T) {
	at := now.Add(-15 * time.Second)
	for _, tc := range []struct {
		moved []scrape.MoveCount
		want  string
	}{
		{[]scrape.MoveCount{{Time: at, Reason: "join", Moves: 43}}, "43 changes of owner in the last 15 min: join 43."},
		{[]scrape.MoveCount{{Time: at, Reason: scrape.FirstOwner, Moves: 9000}}, "9,000 first owners in the last 15 min: first 9,000."},
		{[]scrape.MoveCount{{Time: at, Reason: "join", Moves: 60}, {Time: at, Reason: scrape.FirstOwner, Moves: 1}}, "60 changes of owner and 1 first owner in the last 15 min: first 1, join 60."},
	} {
		m := healthy(3, 60)
		m.Scrape.Moved = tc.moved
		_, doc := render(t, m)
		if got := inside(doc, "moves"); !strings.Contains(got, tc.want) {
			t.Errorf("%q; want %q", got, tc.want)
		}
	}
}

func TestSearchResults(t *testing.T) {
	for _, tc := range []struct {
		search page.Search
		want   string
	}{
		{page.Search{Query: "<x>", Page: 1, PerPage: 25}, "No target matches <x>. Give a part of an address"},
		{page.Search{Query: "x", Page: 9, PerPage: 25, Total: 30}, "Page 9 is beyond the last one: there are 2."},
		{page.Search{Page: 1, PerPage: 10}, "No target has been discovered."},
	} {
		m := healthy(3, 60)
		m.Search = tc.search
		_, doc := render(t, m)
		if got := inside(doc, "found"); !strings.Contains(got, tc.want) {
			t.Errorf("%q; want %q", got, tc.want)
		}
	}
	m := healthy(3, 60)
	m.Search.Query, m.Search.Page, m.Search.Found[0].Pending = "no&de", 2, []string{"member-1"}
	m.Search.Found[1].Discovery = "/etc/sd/farm.json:0"
	text, doc := render(t, m)
	for _, want := range []string{"11–20 of 60 targets that match no&de", "page 2 of 6", "pending: member-1 has not been seen", "after member-0: member-1", "key-0", "the rule", `app="ledger"`, "Found by static_configs", "Found by /etc/sd/farm.json:0"} {
		if got := inside(doc, "found"); !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	for _, want := range []string{`href="./?page=3&amp;q=no%26de#targets"`, `href="./?q=no%26de#targets"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s on the page", want)
		}
	}
}
