package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/scrape"
)

// targetRow is a target that a search has found.
type targetRow struct {
	scrape.Explanation
	Link   string      // the scrape URL, if a browser may open it
	Owned  []memberRow // by whom, the first of many
	Others int         // owners
	Few    []labels.Label
	Hidden int // labels
	Heirs  []heir
	First  []string // of the order
	Rest   int      // of the order
}

// heir is who takes over from an owner; without a name, nobody.
type heir struct {
	From string
	To   memberRow
}

const (
	maxLabels = 30
	maxOrder  = 6
	maxOwners = 6
)

func targetRows(found []scrape.Explanation, members []memberRow) []targetRow {
	known := map[string]memberRow{}
	for _, m := range members {
		known[m.Name] = m
	}
	member := func(name string) memberRow {
		m := known[name]
		m.Name = name
		return m
	}
	var rows []targetRow
	for _, e := range found {
		r := targetRow{Explanation: e, Link: webURL(e.ScrapeURL)}
		for _, name := range e.Owners[:min(maxOwners, len(e.Owners))] {
			r.Owned = append(r.Owned, member(name))
		}
		r.Others = len(e.Owners) - len(r.Owned)
		e.Labels.Range(func(l labels.Label) {
			if len(r.Few) < maxLabels {
				r.Few = append(r.Few, l)
			} else {
				r.Hidden++
			}
		})
		for i, next := range e.Next {
			if i < len(e.Owners) {
				r.Heirs = append(r.Heirs, heir{e.Owners[i], member(next)})
			}
		}
		r.First = e.Order[:min(maxOrder, len(e.Order))]
		r.Rest = len(e.Order) - len(r.First)
		rows = append(rows, r)
	}
	return rows
}

// ID tells the target's details from others', so that they stay open when the page is brought up to date.
func (r targetRow) ID() string { return r.Job + " " + r.ScrapeURL }

// FoundBy is the source of the target's group. Those of static_configs have numbers alone.
func (r targetRow) FoundBy() string {
	if _, err := strconv.ParseUint(r.Discovery, 10, 64); err == nil {
		return "static_configs"
	}
	return r.Discovery
}

// Waiting names the owners that are not yet known to scrape it.
func (r targetRow) Waiting() string {
	var names []string
	for _, name := range r.Pending {
		names = append(names, shown(name))
	}
	return several(names, maxOwners)
}

// webURL is the URL if it is one that a browser may be led to.
func webURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, strings.ToLower(u.Scheme)) || len(text) > 2000 {
		return ""
	}
	u.User = nil
	return u.String()
}

// pages leads from one page of what was found to others.
type pages struct {
	First, Last      int    // of the targets shown, from 1
	Previous, Next   string // links; empty: there is none
	Count            int
	Follow, Unfollow string // links to this page that asks again by itself, and that does not
}

func newPages(s Search) pages {
	p := pages{Count: max(1, (s.Total+s.PerPage-1)/max(1, s.PerPage))}
	if len(s.Found) > 0 {
		p.First = (s.Page-1)*s.PerPage + 1
		p.Last = p.First + len(s.Found) - 1
	}
	if s.Page > 1 {
		p.Previous = link(s, min(s.Page-1, p.Count), s.Refresh)
	}
	if s.Page < p.Count {
		p.Next = link(s, s.Page+1, s.Refresh)
	}
	p.Follow, p.Unfollow = link(s, s.Page, 10), link(s, s.Page, 0)
	return p
}

func link(s Search, page, refresh int) string {
	q := url.Values{}
	if s.Query != "" {
		q.Set("q", s.Query)
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	if refresh > 0 {
		q.Set("refresh", strconv.Itoa(refresh))
	}
	if len(q) == 0 {
		return "./"
	}
	return "./?" + q.Encode()
}
