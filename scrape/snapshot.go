package scrape

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/scrape/placement"
)

// snapshot is what the status API reads targets from: the jobs as they were
// at one moment. Nothing in it changes any more.
type snapshot struct {
	jobs         []jobSnapshot
	elsewhere    func() *elsewhere // made when first asked for
	remoteWrites int               // of the generated configuration
}

type jobSnapshot struct {
	job       // with holds of its own; the rest is shared and never changed in place
	resolver  *resolver
	confirmed []bool // by member
}

func (s *snapshot) target(j *jobSnapshot, i int) Target {
	t := j.targets[i]
	out := Target{
		Job:       j.name,
		ScrapeURL: scrapeURL(t.labels, j.resolver.job.Config),
		Key:       j.resolver.key(t.labels),
		Owners:    j.ownerNames(i),
		Local:     j.holds[i].held,
		Phase:     j.phase(i, j.confirmed),
	}
	lb := labels.NewBuilder(labels.EmptyLabels())
	t.labels.Range(func(l labels.Label) {
		if !strings.HasPrefix(l.Name, "__") {
			lb.Set(l.Name, l.Value)
		}
	})
	out.Labels = lb.Labels()
	return out
}

// ownerNames lists the target's owners, best first; every member for one that
// is scraped everywhere.
func (j *job) ownerNames(i int) []string {
	if j.members == nil {
		return []string{}
	}
	if !j.targets[i].everywhere {
		return names(j.members, j.ownersOf(i))
	}
	out := make([]string, j.members.Len())
	for m := range out {
		out[m] = j.members.At(m).Name
	}
	return out
}

// Targets returns one page of the targets that f selects, sorted by job, then
// address, and how many it selects in all.
func (st *Status) Targets(f Filter) (page []Target, total int) {
	page = []Target{}
	if st.view == nil {
		return page, 0
	}
	query := strings.ToLower(f.Query)
	first, last := (f.Page-1)*f.Limit, f.Page*f.Limit
	for n := range st.view.jobs {
		j := &st.view.jobs[n]
		if f.Job != "" && f.Job != j.name {
			continue
		}
		for i := range j.targets {
			if f.Owner != "" && !slices.Contains(j.ownerNames(i), f.Owner) || !j.matches(i, query) {
				continue
			}
			if total >= first && total < last {
				page = append(page, st.view.target(j, i))
			}
			total++
		}
	}
	return page, total
}

// matches tells whether query, in lower case, is in the target's job, URL, key
// or in one of its label values.
func (j *jobSnapshot) matches(i int, query string) bool {
	if query == "" || strings.Contains(strings.ToLower(j.name), query) {
		return true
	}
	t := j.targets[i]
	found := false
	t.labels.Range(func(l labels.Label) {
		found = found || strings.Contains(strings.ToLower(l.Value), query)
	})
	return found ||
		strings.Contains(strings.ToLower(scrapeURL(t.labels, j.resolver.job.Config)), query) ||
		strings.Contains(strings.ToLower(j.resolver.key(t.labels)), query)
}

// Explain tells of every target with that address, scrape URL or key why it is
// where it is.
func (st *Status) Explain(target string) []Explanation {
	out := []Explanation{}
	if st.view == nil {
		return out
	}
	for n := range st.view.jobs {
		j := &st.view.jobs[n]
		for i, t := range j.targets {
			if t.address == target || t.key == placement.Key(target) || scrapeURL(t.labels, j.resolver.job.Config) == target {
				out = append(out, st.view.explain(j, i))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Explanation) int { return cmp.Compare(a.Job, b.Job) })
	return out
}

func (s *snapshot) explain(j *jobSnapshot, i int) Explanation {
	t := j.targets[i]
	e := Explanation{Target: s.target(j, i), Order: []string{}, Pending: []string{}, View: fmt.Sprintf("%016x", j.view), Discovery: t.group.Source}
	_, e.KeyRule = j.resolver.keyAndRule(t.labels)
	if j.members == nil {
		e.Why = "this member does not know yet who may own the job"
		return e
	}
	for _, m := range j.members.Order(t.key) {
		e.Order = append(e.Order, j.members.At(m).Name)
	}
	for m := range j.members.Len() {
		if name := j.members.At(m).Name; slices.Contains(e.Owners, name) && !j.confirmed[m] {
			e.Pending = append(e.Pending, name)
		}
	}
	e.Why = j.why(t, e)
	return e
}

func (j *jobSnapshot) why(t target, e Explanation) string {
	switch {
	case len(e.Order) == 0:
		return "no active member with a ready Prometheus serves this job: nobody may own it"
	case j.resolver.sharding.Everywhere:
		return "the job is everywhere: every member scrapes all of it"
	case t.everywhere:
		return disableShardingLabel + " is set: every member scrapes it"
	case e.Phase == PhaseReleasing:
		return fmt.Sprintf("given to %s; this member scrapes it until %s", strings.Join(e.Owners, ", "), waitingFor(e.Pending))
	}
	why := fmt.Sprintf("first in the order of its key (%s)", e.KeyRule)
	if j.replicas > 1 {
		why = fmt.Sprintf("the first %d in the order of its key (%s), in distinct zones while there are enough", j.replicas, e.KeyRule)
	}
	return why
}

func waitingFor(pending []string) string {
	if len(pending) == 0 {
		return "that is settled, in a moment"
	}
	return strings.Join(pending, ", ") + " was seen to scrape all its targets of the job"
}
