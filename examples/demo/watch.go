package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-project/ringside/e2e"
)

// sighting is what was seen of the cluster at one time.
type sighting struct {
	at      time.Time
	settled bool
	members map[string]e2e.MemberStatus // as the first sidecar that answers sees them
	owned   map[string]int              // targets by owner, as it sees them
	scraped int                         // targets scraped within the last intervals, says Prometheus
	moves   []move                      // oldest first
}

// move is a number of targets that went from one owner to another between two
// sightings.
type move struct {
	at       time.Time
	n        int
	from, to string // "" for nobody
}

func (m move) text() string {
	targets := "targets"
	if m.n == 1 {
		targets = "target"
	}
	switch {
	case m.from == "":
		return fmt.Sprintf("%3d %s to %s", m.n, targets, m.to)
	case m.to == "":
		return fmt.Sprintf("%3d %s from %s to nobody", m.n, targets, m.from)
	}
	return fmt.Sprintf("%3d %s from %s to %s", m.n, targets, m.from, m.to)
}

// watcher looks at a fleet once a second.
type watcher struct {
	fleet     *e2e.Fleet
	instances int
	client    *http.Client
	sightings chan sighting // one slot, the newest wins

	owners map[string][]string // of each target, when last seen
	moves  []move
}

func newWatcher(fleet *e2e.Fleet, instances int) *watcher {
	return &watcher{
		fleet: fleet, instances: instances, client: &http.Client{Timeout: time.Second},
		sightings: make(chan sighting, 1),
	}
}

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		seen := w.look(ctx)
		select {
		case <-w.sightings:
		default:
		}
		w.sightings <- seen
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look asks the first sidecar that answers for the cluster, and every Prometheus
// for what it scrapes.
func (w *watcher) look(ctx context.Context) sighting {
	ctx, cancel := context.WithTimeout(ctx, 2*pollInterval)
	defer cancel()
	seen := sighting{at: time.Now(), members: map[string]e2e.MemberStatus{}, owned: map[string]int{}}
	var running []*e2e.Pair
	scraped := map[string]bool{}
	for _, p := range w.fleet.Pairs {
		if p.Sidecar.Running() && p.Prometheus.Running() {
			running = append(running, p)
			w.scrapedBy(ctx, p, scraped)
		}
	}
	seen.scraped = len(scraped)
	seen.settled = len(running) > 0 && e2e.Settled(ctx, running) == nil
	for _, p := range running {
		cluster, err := p.Cluster(ctx)
		if err != nil {
			continue
		}
		targets, err := p.Targets(ctx)
		if err != nil {
			continue
		}
		for _, m := range cluster.Members {
			seen.members[m.Name] = m
		}
		w.note(seen.at, ownersOf(targets))
		break
	}
	for _, names := range w.owners {
		for _, name := range names {
			seen.owned[name]++
		}
	}
	seen.moves = slices.Clip(w.moves)
	return seen
}

func ownersOf(targets []e2e.TargetStatus) map[string][]string {
	owners := make(map[string][]string, len(targets))
	for _, t := range targets {
		owners[t.ScrapeURL] = t.Owners
	}
	return owners
}

// note remembers who owns what, and what has moved since it last did.
func (w *watcher) note(at time.Time, owners map[string][]string) {
	w.moves = append(w.moves, movesBetween(at, w.owners, owners)...)
	w.owners = owners
}

// movesBetween counts the targets that have other owners in after than in
// before, by who gave and who got them.
func movesBetween(at time.Time, before, after map[string][]string) []move {
	counts := map[move]int{}
	for target, now := range after {
		was := before[target]
		if from, to := first(except(was, now)), first(except(now, was)); from != to {
			counts[move{at: at, from: from, to: to}]++
		}
	}
	var moves []move
	for m, n := range counts {
		m.n = n
		moves = append(moves, m)
	}
	slices.SortFunc(moves, func(a, b move) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return moves
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func except(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

// scrapedBy adds the instances that the Prometheus of p has scraped within the
// last intervals.
func (w *watcher) scrapedBy(ctx context.Context, p *e2e.Pair, scraped map[string]bool) {
	recent := strconv.FormatInt((5*scrapeInterval/2).Milliseconds(), 10) + "ms"
	query := url.Values{"query": {`last_over_time(up{job="ledger"}[` + recent + `]) == 1`}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Prometheus.URL+"/api/v1/query", strings.NewReader(query.Encode()))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.client.Do(req)
	if err != nil {
		return // it may have just been killed
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Metric struct{ Instance string } }
		}
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&answer) != nil {
		return
	}
	for _, r := range answer.Data.Result {
		scraped[r.Metric.Instance] = true
	}
}
