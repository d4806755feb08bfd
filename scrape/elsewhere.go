package scrape

import (
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// elsewhere knows the targets that are others' to scrape: those that are
// discovered and not held by this member, and those that it released and that
// have left discovery since. Where the members' series are told apart by no
// label, the end of theirs is not for this member to tell. Nothing in it
// changes.
//
// A series is a target's when it has all the target's public labels. One that
// honor_labels or metric relabelling gave other values is nobody's.
type elsewhere struct {
	external map[string]bool
	first    map[uint64]int32 // by the hash of job and instance, index into targets
	targets  []elsewhereTarget
	shapes   [][]string // names of the public labels that targets have, sorted
}

// elsewhereTarget is one of them, in a chain with those of equal job and
// instance, which are few.
type elsewhereTarget struct {
	public uint64 // publicHash
	shape  int32  // index into shapes
	next   int32  // index of the next of the chain, -1 at its end
}

// departure is a target that this member let go of.
type departure struct {
	labels labels.Labels
	at     time.Time
}

// departedFor is for how long a departure is remembered, for the case that the
// target leaves discovery meanwhile. Prometheus ends its series three intervals
// after it, and may send that as late as its WAL reaches back, two hours.
const departedFor = 4 * time.Hour

// newElsewhere makes the index of jobs and gone. A target with the same public
// labels as one that is held is taken for that one.
func newElsewhere(jobs []jobSnapshot, gone map[uint64]departure, external map[string]bool) *elsewhere {
	held, others := map[uint64]bool{}, len(gone)
	for i := range jobs {
		others += len(jobs[i].targets) - jobs[i].local
		for n, h := range jobs[i].holds {
			if h.held {
				held[jobs[i].targets[n].public] = true
			}
		}
	}
	e := &elsewhere{external: external, first: make(map[uint64]int32, others), targets: make([]elsewhereTarget, 0, others)}
	shapes := map[uint64]int32{}
	add := func(public uint64, ls labels.Labels) {
		if !held[public] {
			e.add(public, ls, shapes)
		}
	}
	for i := range jobs {
		for _, t := range jobs[i].targets {
			add(t.public, t.labels)
		}
	}
	for public, d := range gone {
		add(public, d.labels)
	}
	return e
}

// add indexes a target; shapes are those that there are, by a hash of their names.
func (e *elsewhere) add(public uint64, ls labels.Labels, shapes map[uint64]int32) {
	var d xxhash.Digest
	d.Reset()
	named := 0
	ls.Range(func(l labels.Label) {
		if isPublic(l.Name, e.external) {
			named++
			d.WriteString(l.Name)
			d.WriteString("\xff")
		}
	})
	if named == 0 {
		return // every series would be its
	}
	shape, ok := shapes[d.Sum64()]
	if !ok {
		shape = int32(len(e.shapes))
		shapes[d.Sum64()] = shape
		names := make([]string, 0, named)
		ls.Range(func(l labels.Label) {
			if isPublic(l.Name, e.external) {
				names = append(names, strings.Clone(l.Name))
			}
		})
		e.shapes = append(e.shapes, names)
	}
	at, t := e.anchor(ls), elsewhereTarget{public: public, shape: shape, next: -1}
	if next, ok := e.first[at]; ok {
		t.next = next
	}
	e.first[at] = int32(len(e.targets))
	e.targets = append(e.targets, t)
}

// has tells whether the series is of one of the targets. Its labels are as
// Prometheus sends them, without the replica label.
func (e *elsewhere) has(series labels.Labels) bool {
	i, ok := e.first[e.anchor(series)]
	if !ok {
		return false
	}
	hashed := int32(-1) // the shape that hash is of
	var hash uint64
	for ; i >= 0; i = e.targets[i].next {
		t := e.targets[i]
		if t.shape != hashed {
			hash, hashed = hashOf(series, e.shapes[t.shape]), t.shape
		}
		if t.public == hash {
			return true
		}
	}
	return false
}

// anchor is over the labels by which targets are told apart fastest.
func (e *elsewhere) anchor(ls labels.Labels) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, name := range [...]string{model.JobLabel, model.InstanceLabel} {
		if !e.external[name] {
			d.WriteString(ls.Get(name))
		}
		d.WriteString("\xff")
	}
	return d.Sum64()
}

// hashOf is the publicHash of a target with the series' values of the labels
// named, and with no others; 0 if the series lacks one.
func hashOf(series labels.Labels, names []string) uint64 {
	var d xxhash.Digest
	d.Reset()
	series.Range(func(l labels.Label) {
		if len(names) > 0 && l.Name == names[0] {
			writeLabel(&d, l)
			names = names[1:]
		}
	})
	if len(names) > 0 {
		return 0
	}
	return d.Sum64()
}
