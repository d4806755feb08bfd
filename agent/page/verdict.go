package page

import (
	"fmt"
	"time"

	"github.com/ringside-project/ringside/gossip"
)

// verdict is how things stand, in one line, and what is wrong.
type verdict struct {
	Parts    []part
	Reasons  []string // why it is not good
	Problems []string // what else somebody should look at
}

// part is a piece of the line.
type part struct {
	Text string
	Bad  bool
	Off  bool // neither good nor bad
}

// Good tells whether nothing is wrong.
func (v verdict) Good() bool { return len(v.Reasons) == 0 }

// maxReasons is how many reasons each part gives.
const maxReasons = 4

func newVerdict(m *Model, x matrix, configs []configGroup) verdict {
	var v verdict
	v.members(m, x)
	v.targets(m)
	v.uploads(m)
	v.relay(m)
	v.source(m)
	v.Problems = append(v.Problems, m.Gossip.Problems...)
	v.Problems = append(v.Problems, m.Scrape.Source.Warnings...)
	v.Problems = append(v.Problems, m.Config.Warnings...)
	v.Problems = append(v.Problems, m.Uploads.Warnings...)
	v.attend(m, configs)
	if n := m.Config.NeedsRestart; len(n) > 0 {
		v.Problems = append(v.Problems, fmt.Sprintf("ringside.yml: changes of %s take effect only at the next start", several(n, maxReasons)))
	}
	if m.Security.Error != "" {
		v.Problems = append(v.Problems, m.Security.Error)
	}
	return v
}

// attend tells of what breaks nothing here, and may be on the way to.
func (v *verdict) attend(m *Model, configs []configGroup) {
	sources := 0
	for _, c := range configs {
		if c.Hash != "" {
			sources++
		}
	}
	if sources > 1 {
		v.Problems = append(v.Problems, fmt.Sprintf("members run %d different sources, as they do while one is rolled out: see Configuration", sources))
	}
	var refused []string
	for _, j := range m.Scrape.Jobs {
		if j.Invalid > 0 {
			refused = append(refused, fmt.Sprintf("%s (%s)", shown(j.Job), number(j.Invalid)))
		}
	}
	if len(refused) > 0 {
		v.Problems = append(v.Problems, "targets that Prometheus refuses, for want of an address, say, in job "+several(refused, maxReasons))
	}
}

// add puts a part into the line. It is bad if there are reasons.
func (v *verdict) add(text string, reasons []string) {
	v.Parts = append(v.Parts, part{Text: text, Bad: len(reasons) > 0})
	if more := len(reasons) - maxReasons; more > 0 {
		reasons = append(reasons[:maxReasons:maxReasons], fmt.Sprintf("and %d more", more))
	}
	v.Reasons = append(v.Reasons, reasons...)
}

func (v *verdict) off(text string) { v.Parts = append(v.Parts, part{Text: text, Off: true}) }

func (v *verdict) members(m *Model, x matrix) {
	var reasons []string
	if !m.Gossip.Known {
		reasons = append(reasons, "who else is a member is not known yet")
	}
	if m.Scrape.Frozen {
		reasons = append(reasons, "frozen: fewer than min_members are alive, so no target is adopted here")
	}
	disputes := map[string]bool{}
	for _, d := range x.disputes {
		disputes[d.by] = true
	}
	all, agree, view := 0, 0, ownView(m)
	for _, member := range m.Members {
		if member.State == gossip.Left {
			continue
		}
		all++
		why := ""
		name := shown(member.Name)
		switch {
		case member.State == gossip.Dead:
			why = name + " is dead"
		case member.State == gossip.Unready:
			why = name + " is unready: its Prometheus does not answer"
		case member.State != gossip.Active:
			why = fmt.Sprintf("%s is %s", name, member.State)
		case member.View != view:
			why = name + " has another view of who owns what"
		case member.View == 0 || member.AppliedView != member.View:
			why = name + " has yet to be seen to scrape all its targets"
		case !disputes[member.Name]:
			agree++
		}
		if why != "" {
			reasons = append(reasons, why)
		}
	}
	for _, d := range x.disputes {
		reasons = append(reasons, d.text)
	}
	v.add(fmt.Sprintf("%d/%d members agree", agree, all), reasons)
}

func (v *verdict) targets(m *Model) {
	all, unowned, pending := 0, 0, 0
	var nobody, waiting []string
	for _, j := range m.Scrape.Jobs {
		all += j.Targets
		unowned += j.Unowned
		pending += j.HandOvers
		if j.Unowned > 0 {
			nobody = append(nobody, fmt.Sprintf("%s of job %s without an owner", plural(j.Unowned, "target", "targets"), shown(j.Job)))
		}
		if j.HandOvers > 0 {
			waiting = append(waiting, fmt.Sprintf("%s of job %s on the way to another member", plural(j.HandOvers, "target", "targets"), shown(j.Job)))
		}
	}
	v.add(fmt.Sprintf("%s/%s targets owned", number(all-unowned), number(all)), nobody)
	v.add(plural(pending, "hand-over pending", "hand-overs pending"), waiting)
}

// lateUpload is how long a block that is due may wait for the bucket: several tries.
const lateUpload = 15 * time.Minute

func (v *verdict) uploads(m *Model) {
	u := m.Uploads
	if u.Bucket == nil {
		v.off("uploads off")
		return
	}
	var reasons []string
	if u.Held != "" {
		reasons = append(reasons, "nothing is uploaded: "+told(u.Held))
	}
	if u.Bucket.Error != "" {
		reasons = append(reasons, "bucket: "+told(u.Bucket.Error))
	} else if !u.Bucket.Reachable {
		reasons = append(reasons, "the bucket has not answered yet")
	}
	if u.OverdueSeconds > lateUpload.Seconds() {
		reasons = append(reasons, fmt.Sprintf("a block has waited for the bucket for %s", seconds(u.OverdueSeconds)))
	}
	states := map[string]int{}
	for _, b := range u.Blocks {
		states[b.State]++
	}
	if n := states["failed"]; n > 0 {
		reasons = append(reasons, plural(n, "block has", "blocks have")+" failed, and will be tried again")
	}
	if n := states["refused"]; n > 0 {
		reasons = append(reasons, plural(n, "block is", "blocks are")+" refused: see why below")
	}
	if u.Flush.State == "failed" {
		reasons = append(reasons, "flush of the head: "+told(u.Flush.Error))
	}
	v.add(current("uploads", reasons), reasons)
}

func current(what string, reasons []string) string {
	if len(reasons) > 0 {
		return what + " not current"
	}
	return what + " current"
}

func (v *verdict) relay(m *Model) {
	if len(m.Relay.Upstreams) == 0 {
		v.off("relay off")
		return
	}
	var reasons, idle []string
	for _, r := range upstreamRows(m) {
		switch {
		case r.Trouble != "":
			reasons = append(reasons, fmt.Sprintf("relay to %s: %s", shown(r.Name), r.Trouble))
		case r.Idle:
			idle = append(idle, shown(r.Name))
		}
	}
	if len(reasons) == 0 && len(idle) > 0 {
		v.off("nothing sent yet to " + several(idle, 2))
		return
	}
	v.add(current("relay", reasons), reasons)
}

// source tells of what is not in the line when all is well.
func (v *verdict) source(m *Model) {
	if why := m.Scrape.NotReady; len(why) > 0 {
		v.add("not ready", why)
	}
	s := m.Scrape.Source
	if s.LastError != "" {
		v.add("source refused", []string{"prometheus.yml: " + s.LastError})
	}
	if s.PrometheusError != "" {
		v.add("Prometheus behind", []string{"Prometheus does not run with what was generated last: " + s.PrometheusError})
	}
	if m.Config.Error != "" {
		v.add("ringside.yml refused", []string{"ringside.yml: " + m.Config.Error})
	}
}
