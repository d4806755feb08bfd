package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/uploader"
)

// upstreamRow is one upstream of the relay.
type upstreamRow struct {
	upstream.Status
	Trouble  string // empty: none
	Idle     bool   // nothing has been delivered yet: without trouble, too, it is not known to be current
	Outcomes []count
}

type count struct {
	Name string
	N    int64
}

// recentError is how long an upstream that has failed is watched before it counts as current again.
const recentError = 30 * time.Second

// upstreamRows: an upstream is current when the newest sample that it has acknowledged is hardly older than what
// Prometheus scraped last, and all its endpoints take requests.
func upstreamRows(m *Model) []upstreamRow {
	var rows []upstreamRow
	for _, u := range m.Relay.Upstreams {
		r := upstreamRow{Status: u, Idle: u.Samples["delivered"] == 0, Outcomes: counts(u.Samples)}
		r.Trouble = strings.Join(r.troubles(m), "; ")
		rows = append(rows, r)
	}
	return rows
}

func (r upstreamRow) troubles(m *Model) []string {
	late := 2*m.Interval + time.Minute
	var why []string
	open := 0
	for _, e := range r.Endpoints {
		if e.Breaker != "closed" {
			open++
		}
	}
	if open > 0 {
		why = append(why, fmt.Sprintf("%d of %s unused for now, after failures", open, plural(len(r.Endpoints), "endpoint", "endpoints")))
	}
	if r.LagSeconds > late.Seconds() {
		why = append(why, "the newest sample acknowledged is "+seconds(r.LagSeconds)+" old")
	}
	if r.LastErrorTime != nil && (r.Idle || m.Now.Sub(*r.LastErrorTime) < recentError) {
		why = append(why, told(r.LastError))
	}
	if from := m.Scrape.Source.LastReload; len(r.Outcomes) == 0 && feeds(m, late) && m.Now.Sub(from) > late {
		why = append(why, "Prometheus has sent nothing for it since it was told to, "+ago(m.Now, from))
	}
	if r.Hashring != nil && r.Hashring.Error != "" {
		why = append(why, "hashring: "+told(r.Hashring.Error))
	}
	if len(r.Endpoints) == 0 {
		why = append(why, "no endpoint is known yet")
	}
	return why
}

// feeds tells whether Prometheus has said within d what it scrapes, and so has samples to send.
func feeds(m *Model, d time.Duration) bool {
	last := m.Relay.Feedback.LastSamples
	return m.Scrape.Source.PrometheusLoaded && last != nil && m.Now.Sub(*last) < d
}

// counts lists what is not 0, by name.
func counts(by map[string]int64) []count {
	var out []count
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if by[name] != 0 {
			out = append(out, count{name, by[name]})
		}
	}
	return out
}

// blocks are those of the data directory.
type blocks struct {
	States []count
	Listed []uploader.BlockStatus // those that are not up yet first, newest first
	More   int
}

// maxBlocks is how many blocks are listed.
const maxBlocks = 20

func newBlocks(s uploader.Status) blocks {
	var b blocks
	states := map[string]int64{}
	for _, block := range s.Blocks {
		states[block.State]++
	}
	b.States = counts(states)
	for _, up := range []bool{false, true} {
		for _, block := range slices.Backward(s.Blocks) {
			if done := block.State == "uploaded" || block.State == "covered" || block.State == "merged"; done != up {
				continue
			}
			if len(b.Listed) == maxBlocks {
				b.More++
				continue
			}
			b.Listed = append(b.Listed, block)
		}
	}
	return b
}
