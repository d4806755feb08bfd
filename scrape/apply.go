package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// writtenMode keeps others from reading what is written: the configuration
// holds the user's secrets as they wrote them, and targets may have tokens in
// their parameters.
const writtenMode fs.FileMode = 0o640

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

// apply makes a good source the one in force. If a file cannot be written all
// stays as it was, to be tried again.
//
// The first configuration of all is written at once: Prometheus cannot start
// without. After that, the target files come first and the configuration
// follows (see commit), since rules that read a label which the files lack
// would drop every target.
func (e *engine) apply(l loaded) {
	if err := makeFiles(l.source); err != nil {
		e.pending = &l
		e.failed(err)
		return
	}
	first := e.source == nil
	changed := first || !bytes.Equal(e.source.Generated, l.source.Generated) || l.rules != e.rules
	e.pending = nil
	e.source, e.sharding, e.rules, e.reloaded = l.source, l.sharding, l.rules, e.now
	if changed {
		e.staged = &staged{newest: l.newest, patience: e.now.Add(syncTimeout)}
		if first && !e.replacesGenerated() {
			e.staged.patience = e.now
		}
	}
	e.warnings = append(slices.Clone(l.source.Warnings), unknownJobs(l.sharding, l.source)...)
	for _, w := range e.warnings {
		level.Warn(e.logger).Log("msg", w)
	}
	level.Info(e.logger).Log("msg", "source applied", "path", e.cfg.Prometheus.ConfigFile, "jobs", len(l.source.Jobs))
	e.applyJobs()
	if first {
		e.sweep()
	}
	e.commit()
}

// replacesGenerated tells whether an earlier run has generated another
// configuration, with which Prometheus may be running.
func (e *engine) replacesGenerated() bool {
	there, err := os.ReadFile(e.cfg.Prometheus.GeneratedConfigFile)
	return err == nil && !bytes.Equal(there, e.source.Generated)
}

// makeFiles sees to it that every job has a file. Those that exist are left
// alone: they hold what is being scraped.
func makeFiles(source *promconfig.Source) error {
	for _, j := range source.Jobs {
		if _, err := os.Stat(j.TargetFile); err == nil {
			continue
		}
		if err := writeFile(j.TargetFile, render(nil), writtenMode); err != nil {
			return err
		}
	}
	return nil
}

// staged is a source in force whose configuration Prometheus does not have yet.
type staged struct {
	newest   time.Time // modification time of the newest rule file
	patience time.Time // when it is not waited for target files any more
}

// commit gives Prometheus the configuration of the source in force, once the
// files of jobs with changed rules hold what the new rules read.
func (e *engine) commit() {
	if e.staged == nil || e.now.Before(e.retryAt) || e.now.Before(e.staged.patience) && !e.filesServeRules() {
		return
	}
	path := e.cfg.Prometheus.GeneratedConfigFile
	written := e.staged.newest
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, e.source.Generated) {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(written) {
			written = info.ModTime()
		}
		if e.gen.number > 0 {
			written = e.now // only rule files have changed, who knows when
		}
	} else if err := e.writeGenerated(path, there); err != nil {
		e.failed(err)
		return
	} else {
		written = time.Now()
	}
	e.staged = nil
	e.gen = generation{number: e.gen.number + 1, written: written}
	level.Info(e.logger).Log("msg", "configuration generated", "path", path, "generation", e.gen.number)
	offer(e.wanted, e.gen)
}

// filesServeRules tells whether every file that Prometheus reads by other rules
// than before has been written for them. Those that an earlier run left may
// always be such.
func (e *engine) filesServeRules() bool {
	restarted := e.gen.number == 0
	for id, f := range e.files {
		read := len(f.readers) > 1 || restarted && f.born == 0
		if read && (!e.active || !f.complete || e.core.jobs[id].dirty) {
			return false
		}
	}
	return true
}

// writeGenerated writes the generated configuration in place of what is there,
// unless that is none of ours.
func (e *engine) writeGenerated(path string, there []byte) error {
	if err := checkOurs(path, there); err != nil {
		return err
	}
	return writeFile(path, e.source.Generated, writtenMode)
}

// generationOf is the number of the generation that the source in force makes.
func (e *engine) generationOf() int {
	if e.staged != nil {
		return e.gen.number + 1
	}
	return e.gen.number
}

// applyJobs brings discovery, the core's jobs and their files in line with the source.
func (e *engine) applyJobs() {
	files := make(map[uint64]*jobFile, len(e.source.Jobs))
	names := make([]string, len(e.source.Jobs))
	next := make([]options, len(e.source.Jobs))
	tracking := make([]promconfig.Job, len(e.source.Jobs))
	external := externalNames(e.source.ExternalLabels)
	for i, j := range e.source.Jobs {
		name := j.Config.JobName
		sharding := e.sharding.job(name)
		f, ok := e.files[JobID(name)]
		if !ok {
			f = e.adoptFile(j.TargetFile)
		}
		f.read(j)
		f.warned = false
		f.resolver = newResolver(j, sharding, e.selfLabels(), external)
		names[i], files[JobID(name)] = name, f
		next[i] = options{digest: optionsDigest(j, sharding), replicas: sharding.Replicas}
		tracking[i] = j
		tracking[i].ReadsLabel = anyReads(f.readers)
	}
	e.retire(files)
	e.files = files
	e.core.setExternal(external)
	e.core.capacity = e.sharding.CapacitySeries
	e.core.configHash = configHash(e.source, e.sharding)
	e.core.setJobs(names, next, e.now)
	configs := e.seen.track(tracking)
	if err := e.manager.ApplyConfig(configs); err != nil {
		level.Error(e.logger).Log("msg", "configure service discovery", "err", err)
	}
	for name, tracking := range configs {
		f := e.files[JobID(name)]
		if !reflect.DeepEqual(f.tracking, tracking) {
			f.tracking, f.complete, f.since, f.waitsFor = tracking, false, e.now, notAnswered
		}
		if f.complete {
			e.setTargets(name, f, true) // by the new rules
		}
	}
}

// retire marks the files of jobs that are no more, which Prometheus may still
// read.
func (e *engine) retire(files map[uint64]*jobFile) {
	for id, f := range e.files {
		if _, stays := files[id]; !stays {
			e.obsolete = append(e.obsolete, obsolete{f.path, e.generationOf()})
		}
	}
	e.obsolete = slices.DeleteFunc(e.obsolete, func(o obsolete) bool {
		return slices.ContainsFunc(e.source.Jobs, func(j promconfig.Job) bool { return j.TargetFile == o.path })
	})
}

// What earlier runs may have left in the target directory: files of jobs that
// were removed while the sidecar was down, and half-written ones.
var (
	targetFileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{8}\.json$`)
	tempFileName   = regexp.MustCompile(`^\..+-[0-9a-f]{8}\.json[0-9]+$`)
)

// sweep retires what earlier runs left.
func (e *engine) sweep() {
	entries, err := os.ReadDir(e.cfg.Prometheus.TargetsDir)
	if err != nil {
		level.Warn(e.logger).Log("msg", "look for files of earlier runs", "err", err)
	}
	for _, entry := range entries {
		path := filepath.Join(e.cfg.Prometheus.TargetsDir, entry.Name())
		switch {
		case tempFileName.MatchString(entry.Name()):
			e.obsolete = append(e.obsolete, obsolete{path, 0})
		case targetFileName.MatchString(entry.Name()):
			e.obsolete = append(e.obsolete, obsolete{path, e.generationOf()})
		}
	}
	e.retire(e.files)
}

// adoptFile takes over a job's file as an earlier run left it. One with
// targets is being read by Prometheus already.
func (e *engine) adoptFile(path string) *jobFile {
	f := &jobFile{targetFile: targetFile{path: path}, since: e.now, born: e.generationOf()}
	left, content, err := readAddresses(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		level.Warn(e.logger).Log("msg", "target file of an earlier run cannot be read; it will be replaced", "err", err)
	}
	f.left = left
	if len(left) > 0 {
		f.born = 0
	}
	f.written, f.size, f.known = xxhash.Sum64(content), int64(len(content)), content != nil
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
	}
}

func writeTargets(j *job, f *jobFile, self model.LabelSet) (bool, error) {
	entries := make([]entry, 0, j.local)
	for i, h := range j.holds {
		if !h.held {
			continue
		}
		en, err := entryOf(j.targets[i], f.readers, self)
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

// checkFiles has files written again that somebody removed or changed.
func (e *engine) checkFiles() {
	if e.now.Before(e.checkAt) {
		return
	}
	e.checkAt = e.now.Add(pollInterval)
	for id, f := range e.files {
		if f.lost() {
			level.Warn(e.logger).Log("msg", "target file was changed by somebody else; writing it again", "path", f.path)
			f.known, e.core.jobs[id].dirty = false, true
		}
	}
	path := e.cfg.Prometheus.GeneratedConfigFile
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && e.source != nil && e.staged == nil {
		level.Warn(e.logger).Log("msg", "generated configuration was removed by somebody else; writing it again", "path", path)
		e.staged = &staged{patience: e.now}
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

// optionsDigest is over all that decides the keys of a job's targets. Members
// that differ in it do not take each other's word for a hand-over.
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
