package page_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

// crowded is healthy(100, 100_000), with as much of everything as may be there.
func crowded(t testing.TB) *page.Model {
	m := healthy(100, 100_000)
	long := strings.Repeat("long-", 100)
	for i := range m.Members { // no two say the same
		states := map[string]gossip.State{}
		for k, of := range m.Members {
			states[of.Name] = []gossip.State{gossip.Active, gossip.Dead, gossip.Draining}[(i+k)%3]
		}
		m.Members[i].Zone, m.Members[i].Version = long, long
		m.Answers[m.Members[i].Name] = page.Answer{At: now, View: fmt.Sprintf("%016x", i+1), States: states}
	}
	delete(m.Answers, m.Gossip.Self)
	m.Scrape.Jobs = nil
	for i := range 500 {
		m.Scrape.Jobs = append(m.Scrape.Jobs, scrape.JobStatus{Job: fmt.Sprint(i, long), Targets: 200, Unowned: 1, HandOvers: 1, Invalid: 1})
	}
	for i := range 200 {
		m.Scrape.Moves = append(m.Scrape.Moves, scrape.Move{Time: now.Add(-time.Duration(i/20) * time.Second), Job: long, ScrapeURL: fmt.Sprint(i, long), From: "member-0", To: "member-1", Reason: "join"})
	}
	for i := range 2000 {
		m.Scrape.Moved = append(m.Scrape.Moved, scrape.MoveCount{Time: now.Add(time.Duration(i-2000) * 10 * time.Second), Reason: []string{"join", "crash", "config"}[i%3], Moves: i})
	}
	lset := map[string]string{"__address__": long}
	for i := range 60 {
		lset[fmt.Sprint("label", i)] = long
	}
	m.Search = page.Search{Query: long, Page: 2, PerPage: 25, Total: 100_000}
	for i := range 25 {
		e := explanation(i, m.Members)
		e.Labels, e.Owners, e.Next, e.Pending, e.ScrapeURL = labels.FromMap(lset), e.Order, e.Order, e.Order, "http://"+long
		m.Search.Found = append(m.Search.Found, e)
	}
	m.Relay = upstreams(t, fineUpstream)
	m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{}, Blocks: slices.Repeat([]uploader.BlockStatus{{ULID: "01JNB2CZ", State: "failed", Reason: long}}, 500)}
	m.Config.YAML = strings.Repeat(long+"\n", 100)
	return m
}

// TestPageSize: the page stays below 1 MB, whatever the fleet.
func TestPageSize(t *testing.T) {
	text, _ := render(t, crowded(t))
	if len(text) > 1_000_000 || len(text) < 500_000 {
		t.Errorf("%d bytes", len(text))
	}
}
