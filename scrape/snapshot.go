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

		Everywhere: t.everywhere,
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

// Explain tells of the targets with that address, scrape URL or key, sorted by
// job and no more than most of them, why they are where they are.
func (st *Status) Explain(target string, most int) []Explanation {
	out := []Explanation{}
	if st.view == nil {
		return out
	}
	key := placement.Key(target)
	var jobs []*jobSnapshot
	for n := range st.view.jobs {
		jobs = append(jobs, &st.view.jobs[n])
	}
	slices.SortStableFunc(jobs, func(a, b *jobSnapshot) int { return cmp.Compare(a.name, b.name) })
	for _, j := range jobs {
		for i, t := range j.targets {
			if len(out) == most {
				return out
			}
			if t.address == target || t.key == key || j.isURL(t, target) {
				out = append(out, st.view.explain(j, i))
			}
		}
	}
	return out
}

// isURL tells whether url is the target's scrape URL.
func (j *jobSnapshot) isURL(t target, url string) bool {
	if isPlain(t.address) && !strings.Contains(url, t.address) {
		return false // as nearly all do, at next to no cost
	}
	return scrapeURL(t.labels, j.resolver.job.Config) == url
}

func (s *snapshot) explain(j *jobSnapshot, i int) Explanation {
	t := j.targets[i]
	e := Explanation{Target: s.target(j, i), Order: []string{}, Next: []string{}, Pending: []string{}, View: fmt.Sprintf("%016x", j.view), Discovery: t.group.Source}
	_, e.KeyRule = j.resolver.keyAndRule(t.labels)
	if j.members == nil {
		e.Why = "this member does not know yet who may own the job"
		return e
	}
	for _, m := range j.members.Order(t.key) {
		e.Order = append(e.Order, j.members.At(m).Name)
	}
	e.Next = j.next(i, e.Owners)
	for m := range j.members.Len() {
		if name := j.members.At(m).Name; slices.Contains(e.Owners, name) && !j.confirmed[m] {
			e.Pending = append(e.Pending, name)
		}
	}
	e.Why = j.why(t, e)
	return e
}

// next names for each of the target's owners who would take over from it;
// empty: nobody is there.
func (j *jobSnapshot) next(i int, owners []string) []string {
	if j.targets[i].everywhere {
		return []string{}
	}
	out := make([]string, len(owners))
	for n, gone := range owners {
		var rest []placement.Member
		for m := range j.members.Len() {
			if member := j.members.At(m); member.Name != gone {
				rest = append(rest, member)
			}
		}
		left := placement.NewMembers(rest)
		for _, heir := range names(left, placement.Assign(left, j.replicas, j.keys[i:i+1], nil)) {
			if !slices.Contains(owners, heir) {
				out[n] = heir
				break
			}
		}
	}
	return out
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
