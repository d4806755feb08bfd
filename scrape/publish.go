package scrape

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// publish makes the state known: to the peers, if it is news for them, and to
// whoever reads the status.
func (e *engine) publish() {
	facts := e.core.facts()
	news := e.published
	change := max(facts.Series-news.Series, news.Series-facts.Series) // with every scrape
	load := change*20 > news.Series && e.now.Sub(e.factsAt) >= seriesInterval
	news.Series = facts.Series
	if !reflect.DeepEqual(facts, news) || load {
		e.published, e.factsAt = facts, e.now
		e.shown = time.Time{}
		offer(e.Scrape.facts, facts)
	}
	if !e.health.ready {
		e.ready = false
	} else if facts.AppliedView != 0 {
		e.ready = true
	}
	if e.now.Sub(e.shown) >= time.Second {
		e.shown = e.now
		e.show(facts)
	}
}

// seriesInterval is how often at most peers are told of a load alone, and only
// if it is 5 % off what they know.
const seriesInterval = 5 * time.Second

// show makes the new snapshot and sets the metrics.
func (e *engine) show(facts Facts) {
	if extra := len(e.moves) - maxMoves; extra > 0 {
		e.moves = slices.Clone(e.moves[extra:])
	}
	st := &Status{
		Facts: facts, NotReady: e.notReady(), Frozen: e.core.frozen(),
		Source: SourceStatus{
			Path: e.cfg.Prometheus.ConfigFile, GeneratedPath: e.cfg.Prometheus.GeneratedConfigFile,
			LastReloadOK: e.sourceErr == "" && e.source != nil && e.writeErr == "", LastError: e.sourceErr, LastReload: e.reloaded,
			PrometheusLoaded: e.gen.number > 0 && e.health.loaded == e.gen.number, PrometheusError: e.health.err,
			Warnings: append([]string{}, e.warnings...),
		},
		Moves: slices.Clone(e.moves),
		Moved: slices.Clone(e.moved),
		view:  &snapshot{},
	}
	if st.Source.LastError == "" {
		st.Source.LastError = e.writeErr
	}
	for _, name := range e.core.names {
		j, f := e.core.jobs[JobID(name)], e.files[JobID(name)]
		js := jobSnapshot{job: *j, resolver: f.resolver, confirmed: e.core.confirmed(j)}
		js.holds = slices.Clone(j.holds)
		st.view.jobs = append(st.view.jobs, js)
		st.Jobs = append(st.Jobs, js.status(f.counts))
	}
	st.view.elsewhere = e.elsewhereOf(st.view.jobs)
	if e.source != nil {
		st.view.remoteWrites = e.source.RemoteWrites
	}
	e.Scrape.status.Store(st)
	if why := strings.Join(st.NotReady, "; "); st.State == Joining && e.now.Sub(e.started) >= pollInterval && why != e.told {
		e.told = why
		level.Info(e.logger).Log("msg", "not joined yet", "why", why)
	}
	e.metrics.show(st.Jobs)
	e.metrics.series.Set(float64(facts.Series))
	boolGauge(e.metrics.prometheusReady, e.health.ready)
	boolGauge(e.metrics.prometheusLoaded, st.Source.PrometheusLoaded)
}

// elsewhereOf gives the index of the targets that others scrape: the last one
// if nothing has changed since. Most sidecars never ask for it.
func (e *engine) elsewhereOf(jobs []jobSnapshot) func() *elsewhere {
	if e.elsewhere == nil || e.indexed != e.core.changes {
		gone, external := maps.Clone(e.core.gone), e.core.external
		e.elsewhere = sync.OnceValue(func() *elsewhere { return newElsewhere(jobs, gone, external) })
		e.indexed = e.core.changes
	}
	return e.elsewhere
}

func (j *jobSnapshot) status(counts resolved) JobStatus {
	st := JobStatus{
		Job: j.name, Synced: j.synced, Targets: len(j.targets), Local: j.local, Releasing: j.leaving,
		Everywhere: j.resolver.sharding.Everywhere, Dropped: counts.dropped, Invalid: counts.invalid,
		HandOvers: j.pending + j.leaving,
	}
	for i, h := range j.holds {
		switch phase := j.phase(i, j.confirmed); {
		case h.held && phase == PhaseAdopting:
			st.Adopting++
		case phase == PhaseAdopting:
			st.HandOvers++
		case phase == PhaseUnowned:
			st.Unowned++
		}
	}
	return st
}

// notReady lists what is missing for this member to be ready, for a person.
func (e *engine) notReady() []string {
	missing := []string{}
	add := func(when bool, format string, args ...any) {
		if when {
			missing = append(missing, fmt.Sprintf(format, args...))
		}
	}
	add(e.core.state == Draining, "draining")
	add(e.source == nil && e.sourceErr == "" && e.pending == nil, "the source configuration has not been read yet")
	add(e.source == nil && e.sourceErr != "", "no configuration written: %s", e.sourceErr)
	add(e.pending != nil, "configuration cannot be written: %s", e.writeErr)
	for _, name := range e.core.names {
		j := e.core.jobs[JobID(name)]
		add(!j.synced && !j.overdue, "job %q: %s", name, e.files[JobID(name)].waitsFor)
	}
	add(!e.core.known, "the members of the cluster are not known yet")
	add(!e.health.ready, "Prometheus at %s is not ready", e.cfg.Prometheus.URL)
	add(e.health.ready && e.gen.number > 0 && e.health.loaded != e.gen.number && !e.ready,
		"Prometheus does not run with the generated configuration yet: %s", strings.TrimSpace("waiting "+e.health.err))
	if e.ready || len(missing) > 0 {
		return missing
	}
	add(e.core.frozen(), "frozen: fewer than min_members (%d) are alive, so nothing is adopted", e.cfg.MinMembers)
	for _, name := range e.core.names {
		j := e.core.jobs[JobID(name)]
		add(j.pending > 0, "job %q: %d targets have not been seen to be scraped yet", name, j.pending)
	}
	add(len(missing) == 0, "ownership is not applied yet")
	return missing
}

// answerDrains answers those who wait for the hand-over, once it is done or
// their time is up.
func (e *engine) answerDrains() {
	if len(e.waiting) == 0 {
		return
	}
	_, _, open := e.core.drained(e.now)
	done := len(open) == 0 || !e.core.heirs() || e.prometheusGone()
	e.waiting = slices.DeleteFunc(e.waiting, func(ask drainAsk) bool {
		if !done && ask.ctx.Err() == nil {
			return false
		}
		report := e.drainReport()
		level.Info(e.logger).Log("msg", "drained", "done", done, "targets", report.Targets, "unconfirmed", len(report.Unconfirmed),
			"alone", report.Alone, "prometheus_gone", report.PrometheusGone)
		var err error
		if !done {
			err = ErrUnconfirmed
		}
		ask.answer <- drainAnswer{report, err}
		return true
	})
}

// prometheusGone tells whether there is nothing to hand over: what is not
// scraped any more is for the heirs to adopt.
func (e *engine) prometheusGone() bool {
	return !e.health.ready && e.now.Sub(e.health.since) >= unreadyAfter
}

func (e *engine) drainReport() DrainReport {
	total, handed, open := e.core.drained(e.now)
	report := DrainReport{
		Targets: total, Handed: handed, Unconfirmed: []string{}, Alone: !e.core.heirs(),
		PrometheusGone: e.prometheusGone(),
	}
	for _, h := range open {
		report.Unconfirmed = append(report.Unconfirmed, scrapeURL(h.job.targets[h.index].labels, e.files[h.job.id].resolver.job.Config))
	}
	return report
}
