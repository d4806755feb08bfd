package scrape

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ringside-project/ringside/scrape/placement"
)

// job is one scrape job: its targets, who owns them, and which of them are in
// this member's file. It knows no clock, no disk and no network.
type job struct {
	id      uint64
	name    string
	options         // by which targets were made
	next    options // by which the next ones will be
	synced  bool    // its discovery has answered: targets are known
	overdue bool    // it should have long ago; nobody waits for it any more
	loaded  bool    // Prometheus has been seen to run with a configuration that has the job

	targets []target // replaced whole, never changed
	keys    []uint64 // of targets

	members   *placement.Members // that may own targets
	view      uint64             // digest of members and viewed
	viewed    options            // the view's
	viewSince time.Time
	self      int32   // index of this member in members; -1: it may not own
	owners    []int32 // replicas per target, indexes into members, -1 for none

	holds   []hold // one per target
	local   int    // held targets
	leaving int    // of these, the ones that this member does not own
	pending int    // awaited targets
	dirty   bool   // the file does not hold what it should
}

// options are what decides the owners of a job's targets, beside the members.
type options struct {
	digest   uint64 // of the rules that make the keys, equal on all members once a configuration has rolled out
	replicas int
}

// hold is what this member has to do with one target.
type hold struct {
	held    bool  // in the file, or to be written to it
	seen    bool  // Prometheus was seen to scrape it since it is held
	awaited bool  // not applied until seen: it may have come from another member
	since   int64 // when it was written to the file, Unix milliseconds; 0: not yet
	series  int32 // that its last scrape brought
}

// JobID is what a job is called between members.
func JobID(name string) uint64 { return xxhash.Sum64String(name) }

func (j *job) ownersOf(i int) []int32 {
	if j.members == nil {
		return nil
	}
	owners := j.owners[i*j.replicas : (i+1)*j.replicas]
	if n := slices.Index(owners, -1); n >= 0 {
		owners = owners[:n]
	}
	return owners
}

func (j *job) owns(i int) bool {
	if j.self < 0 {
		return false
	}
	return j.targets[i].everywhere || slices.Contains(j.ownersOf(i), j.self)
}

// setTargets replaces the job's targets, and puts the options in force by
// which they were made. What was held stays held: a target with the same
// identity as it is, and one that has other labels now, or by new rules
// another key, until its owner, who may not have the new rules yet, confirms
// it. inFile tells which addresses the file left by an earlier run holds; nil:
// it is ours.
func (j *job) setTargets(targets []target, inFile map[string]bool) {
	byID := map[uint64]hold{}
	byAddress := map[string]hold{}
	for i, h := range j.holds {
		if h.held {
			byID[j.targets[i].id] = h
			byAddress[j.targets[i].discoveredAddress()] = h
		}
	}
	if j.replicas != j.next.replicas {
		j.members = nil // owners are of another shape
	}
	j.options, j.targets, j.synced, j.dirty = j.next, targets, true, true
	j.keys = make([]uint64, len(targets))
	j.holds = make([]hold, len(targets))
	for i, t := range targets {
		j.keys[i] = t.key
		if h, ok := byID[t.id]; ok {
			j.holds[i] = h
			continue
		}
		was := byAddress[t.discoveredAddress()]
		j.holds[i] = hold{held: was.held || inFile[t.discoveredAddress()], awaited: was.awaited}
	}
	if j.members != nil {
		j.owners = placement.Assign(j.members, j.replicas, j.keys, nil)
	}
}

// setView replaces the members that may own the job's targets, and tells
// moved, which may be nil, of every target whose owners change.
func (j *job) setView(members *placement.Members, node string, now time.Time, moved func(i int, from, to string)) bool {
	if members == j.members && j.viewed == j.options {
		return false
	}
	view := digest(members.Digest(), j.digest, uint64(j.replicas))
	if j.members != nil && view == j.view {
		return false
	}
	prev, prevOwners := j.members, j.owners
	if prev == nil {
		j.owners = placement.Assign(members, j.replicas, j.keys, nil)
	} else {
		j.owners = placement.Reassign(prev, members, j.replicas, j.keys, prevOwners)
	}
	j.members, j.view, j.viewed, j.viewSince = members, view, j.options, now
	j.self = indexOf(members, node)
	if prev != nil && moved != nil {
		for i := range j.targets {
			if !j.targets[i].everywhere {
				j.compareOwners(i, prev, prevOwners[i*j.replicas:(i+1)*j.replicas], moved)
			}
		}
	}
	return true
}

// compareOwners pairs the owners that target i lost with those it got.
func (j *job) compareOwners(i int, prev *placement.Members, before []int32, moved func(i int, from, to string)) {
	after := j.owners[i*j.replicas : (i+1)*j.replicas]
	if j.replicas == 1 && before[0] >= 0 && after[0] >= 0 && prev.At(int(before[0])).Name == j.members.At(int(after[0])).Name {
		return
	}
	was, is := names(prev, before), names(j.members, after)
	lost := slices.DeleteFunc(slices.Clone(was), func(n string) bool { return slices.Contains(is, n) })
	got := slices.DeleteFunc(is, func(n string) bool { return slices.Contains(was, n) })
	for k := range max(len(lost), len(got)) {
		var from, to string
		if k < len(lost) {
			from = lost[k]
		}
		if k < len(got) {
			to = got[k]
		}
		moved(i, from, to)
	}
}

// adopt holds every owned target that is not held yet, unless frozen. With
// await the job counts as applied only when all owned targets have been seen:
// after a change of view, but not for what discovery finds later, or else a
// job whose targets come and go would never be applied.
func (j *job) adopt(frozen, await bool) {
	j.local, j.leaving, j.pending = 0, 0, 0
	for i := range j.targets {
		h := &j.holds[i]
		if own := j.owns(i); own {
			if !h.held && !frozen {
				*h = hold{held: true, awaited: h.awaited}
				j.dirty = true
			}
			h.awaited = (h.awaited || await) && !h.seen
			if h.awaited {
				j.pending++
			}
		} else if h.held {
			h.awaited = false
			j.leaving++
		}
		if h.held {
			j.local++
		}
	}
}

// release lets go of every target whose owners are all confirmed, and tells
// released of each. confirmed says so for each of the job's members.
func (j *job) release(confirmed []bool, released func(i int)) {
	for i := range j.targets {
		if j.holds[i].held && !j.owns(i) && j.confirmedElsewhere(i, confirmed) {
			j.holds[i] = hold{}
			j.local--
			j.leaving--
			j.dirty = true
			released(i)
		}
	}
}

// confirmedElsewhere tells whether all owners of target i are known to scrape
// it. Nobody is not all: without owners it is false.
func (j *job) confirmedElsewhere(i int, confirmed []bool) bool {
	if j.targets[i].everywhere {
		return len(confirmed) > 0 && !slices.Contains(confirmed, false)
	}
	owners := j.ownersOf(i)
	for _, o := range owners {
		if !confirmed[o] {
			return false
		}
	}
	return len(owners) > 0
}

// wrote notes that the file, whose writing began at start, holds all held targets.
func (j *job) wrote(start time.Time) {
	for i := range j.holds {
		if h := &j.holds[i]; h.held && h.since == 0 {
			h.since = start.UnixMilli()
		}
	}
	j.dirty = false
}

// forget drops what was seen: Prometheus has restarted, and has to be seen to
// scrape every target anew.
func (j *job) forget(now time.Time) {
	for i := range j.holds {
		if h := &j.holds[i]; h.held {
			h.seen, h.awaited = false, true
			if h.since != 0 {
				h.since = now.UnixMilli()
			}
		}
	}
	j.adopt(true, false)
}

// see notes a scrape of target i at ts, Unix milliseconds.
func (j *job) see(i int, ts int64) {
	h := &j.holds[i]
	if !h.held || h.seen || h.since == 0 || ts < h.since {
		return
	}
	h.seen = true
	if h.awaited {
		h.awaited = false
		j.pending--
	}
}

// phase is the target's as this member sees it; confirmed is as in release.
func (j *job) phase(i int, confirmed []bool) string {
	h := j.holds[i]
	switch owners := j.ownersOf(i); {
	case h.held && !j.owns(i):
		return PhaseReleasing
	case h.held && !h.seen:
		return PhaseAdopting
	case h.held:
		return PhaseActive
	case len(owners) == 0 && !(j.targets[i].everywhere && j.members != nil && j.members.Len() > 0), j.owns(i):
		return PhaseUnowned // nobody may scrape it, or we should and are frozen
	case j.confirmedElsewhere(i, confirmed):
		return PhaseActive
	default:
		return PhaseAdopting
	}
}

func names(m *placement.Members, indexes []int32) []string {
	out := make([]string, 0, len(indexes))
	for _, i := range indexes {
		if i >= 0 {
			out = append(out, m.At(int(i)).Name)
		}
	}
	return out
}

func indexOf(m *placement.Members, name string) int32 {
	for i := range m.Len() {
		if m.At(i).Name == name {
			return int32(i)
		}
	}
	return -1
}
