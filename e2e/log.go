package e2e

import (
	"math"
	"slices"
	"sort"
	"time"
)

// scrape is one request that a target has answered.
type scrape struct {
	Time    time.Time
	Target  string // host:port
	Scraper string // name of the pair
}

// scrapeLog is a list of scrapes, oldest first.
type scrapeLog []scrape

// gap is a time in which nobody scraped a target, although 1.5 intervals or more
// had gone by: from one scrape to the next, or to the edge of what was looked at.
type gap struct {
	Target   string
	From, To time.Time
}

// Between returns the scrapes of from <= time < to.
func (l scrapeLog) Between(from, to time.Time) scrapeLog {
	return l[l.at(from):l.at(to)]
}

// at returns the index of the first scrape at t or later.
func (l scrapeLog) at(t time.Time) int {
	return sort.Search(len(l), func(i int) bool { return !l[i].Time.Before(t) })
}

// Without returns the scrapes by all but scraper.
func (l scrapeLog) Without(scraper string) scrapeLog {
	return l.filter(func(s scrape) bool { return s.Scraper != scraper })
}

// Strays returns the scrapes by scrapers that are not among the owners of the
// target.
func (l scrapeLog) Strays(owners map[string][]string) scrapeLog {
	return l.filter(func(s scrape) bool { return !slices.Contains(owners[s.Target], s.Scraper) })
}

func (l scrapeLog) filter(keep func(scrape) bool) scrapeLog {
	var out scrapeLog
	for _, s := range l {
		if keep(s) {
			out = append(out, s)
		}
	}
	return out
}

// Owners returns the scrapers of each target, sorted.
func (l scrapeLog) Owners() map[string][]string {
	owners := map[string][]string{}
	for _, s := range l {
		if i, found := slices.BinarySearch(owners[s.Target], s.Scraper); !found {
			owners[s.Target] = slices.Insert(owners[s.Target], i, s.Scraper)
		}
	}
	return owners
}

// Since returns how long after t each target was scraped first. Targets that
// were not are left out.
func (l scrapeLog) Since(t time.Time) map[string]time.Duration {
	first := map[string]time.Duration{}
	for _, s := range l[l.at(t):] {
		if _, seen := first[s.Target]; !seen {
			first[s.Target] = s.Time.Sub(t)
		}
	}
	return first
}

// Gaps returns what was missed of targets between from and to, by the measure
// of gap. A scrape before from counts as the start of the first gap.
func (l scrapeLog) Gaps(targets []string, from, to time.Time, interval time.Duration) []gap {
	last := make(map[string]time.Time, len(targets))
	for _, target := range targets {
		last[target] = from
	}
	for target, t := range l.lastBefore(from, 2*interval) {
		if _, asked := last[target]; asked {
			last[target] = t
		}
	}
	var gaps []gap
	add := func(target string, to time.Time) {
		if from := last[target]; to.Sub(from) >= interval*3/2 {
			gaps = append(gaps, gap{Target: target, From: from, To: to})
		}
	}
	for _, s := range l.Between(from, to) {
		if _, asked := last[s.Target]; asked {
			add(s.Target, s.Time)
			last[s.Target] = s.Time
		}
	}
	for _, target := range targets {
		add(target, to)
	}
	return gaps
}

// lastBefore returns the last scrape of each target in the time before t that
// reaches back for back.
func (l scrapeLog) lastBefore(t time.Time, back time.Duration) map[string]time.Time {
	last := map[string]time.Time{}
	for _, s := range l.Between(t.Add(-back), t) {
		last[s.Target] = s.Time
	}
	return last
}

// Doubled returns for how long more than replicas scrapers held each target. A
// scraper holds a target from one of its scrapes to its next, as long as those
// are less than 1.5 intervals apart. Targets that were never doubled are left
// out.
func (l scrapeLog) Doubled(replicas int, interval time.Duration) map[string]time.Duration {
	type holding struct{ target, scraper string }
	type edge struct {
		at   time.Time
		step int // +1 somebody more holds the target from here, -1 one fewer
	}
	edges := map[string][]edge{}
	last := map[holding]time.Time{}
	for _, s := range l {
		h := holding{s.Target, s.Scraper}
		if from, ok := last[h]; ok && s.Time.Sub(from) < interval*3/2 {
			edges[s.Target] = append(edges[s.Target], edge{from, +1}, edge{s.Time, -1})
		}
		last[h] = s.Time
	}
	doubled := map[string]time.Duration{}
	for target, edges := range edges {
		slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
		held := 0
		for i, e := range edges {
			if held > replicas && e.at.After(edges[i-1].at) {
				doubled[target] += e.at.Sub(edges[i-1].at)
			}
			held += e.step
		}
	}
	return doubled
}

// movedTargets returns the targets whose owners are others after than before, sorted.
func movedTargets(before, after map[string][]string) []string {
	var moved []string
	for target, owners := range after {
		if was, known := before[target]; known && !slices.Equal(was, owners) {
			moved = append(moved, target)
		}
	}
	slices.Sort(moved)
	return moved
}

// quantile returns the smallest of values that at least the share q of them
// does not exceed; 0 of none.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}
