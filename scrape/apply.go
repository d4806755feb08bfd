package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// generatedMode keeps others from reading the generated configuration: it
// holds the user's secrets as they wrote them.
const generatedMode fs.FileMode = 0o640

// take notes what came of reading the source, and applies a good one.
func (e *engine) take(l loaded) {
	if l.err != nil {
		e.sourceErr = l.err.Error()
		return
	}
	e.sourceErr = ""
	if e.source != nil && e.pending == nil && e.source.Hash == l.source.Hash && e.rules == l.rules &&
		bytes.Equal(e.source.Generated, l.source.Generated) && reflect.DeepEqual(e.sharding, l.sharding) {
		return // another look at the same
	}
	e.apply(l)
}

// apply makes a good source the one in force: files first, then Prometheus's
// configuration, then discovery and the jobs. If a file cannot be written all
// stays as it was, to be tried again.
func (e *engine) apply(l loaded) {
	changed, err := e.writeSource(l.source)
	if err != nil {
		e.pending = &l
		e.failed(err)
		return
	}
	e.pending = nil
	first := e.source == nil
	rulesChanged := !first && l.rules != e.rules
	e.source, e.sharding, e.rules, e.reloaded = l.source, l.sharding, l.rules, e.now
	if first || changed || rulesChanged {
		e.gen = generation{number: e.gen.number + 1, written: e.now}
		if first && !changed {
			e.gen.written = l.newest
			if info, err := os.Stat(e.cfg.Prometheus.GeneratedConfigFile); err == nil && info.ModTime().After(l.newest) {
				e.gen.written = info.ModTime()
			}
		}
	}
	e.warnings = append(slices.Clone(l.source.Warnings), unknownJobs(l.sharding, l.source)...)
	for _, w := range e.warnings {
		level.Warn(e.logger).Log("msg", w)
	}
	level.Info(e.logger).Log("msg", "source applied", "path", e.cfg.Prometheus.ConfigFile, "jobs", len(l.source.Jobs), "generation", e.gen.number)
	e.applyJobs()
	offer(e.wanted, e.gen)
}

// writeSource writes what Prometheus needs to start with this source, and
// tells whether the generated configuration changed. Files of jobs that exist
// are left alone: they hold what is being scraped.
func (e *engine) writeSource(source *promconfig.Source) (changed bool, err error) {
	p := e.cfg.Prometheus
	for _, dir := range []string{p.TargetsDir, filepath.Dir(p.GeneratedConfigFile)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return false, fmt.Errorf("make directory %s: %w; make it writable for the sidecar", dir, err)
		}
	}
	for _, j := range source.Jobs {
		if _, err := os.Stat(j.TargetFile); err == nil {
			continue
		}
		if err := writeFile(j.TargetFile, render(nil), 0o644); err != nil {
			return false, err
		}
	}
	if there, err := os.ReadFile(p.GeneratedConfigFile); err == nil && bytes.Equal(there, source.Generated) {
		return false, nil
	}
	return true, writeFile(p.GeneratedConfigFile, source.Generated, generatedMode)
}

// applyJobs brings discovery, the core's jobs and their files in line with the source.
func (e *engine) applyJobs() {
	files := make(map[uint64]*jobFile, len(e.source.Jobs))
	configs := e.seen.track(e.source.Jobs)
	sharding := make([]JobSharding, len(e.source.Jobs))
	options := make([]uint64, len(e.source.Jobs))
	external := externalNames(e.source.ExternalLabels)
	for i, j := range e.source.Jobs {
		name := j.Config.JobName
		sharding[i] = e.sharding.job(name)
		options[i] = optionsDigest(j, sharding[i])
		tracking := configs[name]
		f, ok := e.files[JobID(name)]
		if !ok {
			f = e.adoptFile(j.TargetFile)
		}
		if !reflect.DeepEqual(f.tracking, tracking) {
			f.tracking, f.complete = tracking, false
		}
		f.warned = false
		f.resolver = newResolver(j, sharding[i], e.selfLabels(), external)
		files[JobID(name)] = f
	}
	for id, f := range e.files {
		if _, stays := files[id]; !stays {
			e.obsolete = append(e.obsolete, obsolete{f.path, e.gen.number})
		}
	}
	e.obsolete = slices.DeleteFunc(e.obsolete, func(o obsolete) bool {
		return slices.ContainsFunc(e.source.Jobs, func(j promconfig.Job) bool { return j.TargetFile == o.path })
	})
	e.files = files
	e.core.external, e.core.capacity = external, e.sharding.CapacitySeries
	e.core.configHash = configHash(e.source, e.sharding)
	e.core.setJobs(sharding, options, e.now)
	if err := e.manager.ApplyConfig(configs); err != nil {
		level.Error(e.logger).Log("msg", "configure service discovery", "err", err)
	}
	for name := range configs {
		if f := e.files[JobID(name)]; f.complete {
			e.setTargets(name, f, true) // by the new rules
		}
	}
}

// adoptFile takes over a job's file as an earlier run left it.
func (e *engine) adoptFile(path string) *jobFile {
	f := &jobFile{targetFile: targetFile{path: path}}
	left, content, err := readEntries(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		level.Warn(e.logger).Log("msg", "target file of an earlier run cannot be read; it will be replaced", "err", err)
	}
	f.left = left
	f.written, f.known = xxhash.Sum64(content), content != nil
	return f
}

// writeFiles writes the file of every job that needs it, several at a time:
// each waits for the disk.
func (e *engine) writeFiles() {
	var (
		writing sync.WaitGroup
		mu      sync.Mutex
		failure error
		slots   = make(chan struct{}, 8)
	)
	self := e.selfLabels()
	for id, j := range e.core.jobs {
		f := e.files[id]
		if !j.dirty || !j.synced {
			continue
		}
		start := time.Now()
		slots <- struct{}{}
		writing.Go(func() {
			defer func() { <-slots }()
			wrote, err := writeTargets(j, f, self)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failure = err
				return
			case wrote:
				e.metrics.fileWrites.WithLabelValues(j.name).Inc()
				level.Debug(e.logger).Log("msg", "targets written", "job", j.name, "targets", j.local)
			}
			j.wrote(start)
		})
	}
	writing.Wait()
	if failure != nil {
		e.failed(failure)
	} else if e.pending == nil {
		e.writeErr = ""
	}
}

func writeTargets(j *job, f *jobFile, self model.LabelSet) (bool, error) {
	entries := make([]entry, 0, j.local)
	for i, h := range j.holds {
		if !h.held {
			continue
		}
		en, err := entryOf(j.targets[i], f.resolver.job, self)
		if err != nil {
			return false, fmt.Errorf("render targets of job %q: %w", j.name, err)
		}
		entries = append(entries, en)
	}
	return f.put(render(entries))
}

// failed notes that a file could not be written; the old one stays and it is
// tried again.
func (e *engine) failed(err error) {
	e.metrics.fileErrors.Inc()
	e.retryAt = e.now.Add(time.Second)
	if e.writeErr != err.Error() {
		e.writeErr = err.Error()
		level.Error(e.logger).Log("msg", "the last good file stays; trying again", "err", err)
	}
}

// removeObsolete removes the files of jobs that Prometheus no longer knows.
func (e *engine) removeObsolete() {
	e.obsolete = slices.DeleteFunc(e.obsolete, func(o obsolete) bool {
		if e.health.loaded < o.gen {
			return false
		}
		if err := os.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			level.Warn(e.logger).Log("msg", "remove the target file of a job that is no more", "err", err)
		}
		return true
	})
}

// optionsDigest is over all that decides the keys and the owners of a job's
// targets. Members that differ in it do not take each other's word for a
// hand-over.
func optionsDigest(j promconfig.Job, sharding JobSharding) uint64 {
	var d xxhash.Digest
	d.Reset()
	fmt.Fprintf(&d, "%d %q %q %q %+v", rulesDigest(j.Config.RelabelConfigs), j.Config.Scheme, j.Config.MetricsPath, j.Config.Params, sharding)
	return d.Sum64()
}

func rulesDigest(rules []*relabel.Config) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, r := range rules {
		fmt.Fprintf(&d, "%q %q %q %d %q %q %q\n", r.SourceLabels, r.Separator, r.Regex.String(), r.Modulus, r.TargetLabel, r.Replacement, r.Action)
	}
	return d.Sum64()
}

// configHash is over the source as parsed and the sharding options, which all
// members should have in common; a member's own capacity is none of these.
func configHash(source *promconfig.Source, sharding Sharding) uint64 {
	sharding.CapacitySeries = 0
	return digest(source.Hash, xxhash.Sum64String(fmt.Sprintf("%+v", sharding)))
}
