package gossip

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, often with its own lock held: nothing here waits, writes a log or calls memberlist.
type delegate struct{ c *Cluster }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
)

// NotifyJoin is called when a member is seen, for the first time or again.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	c := d.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.book.present[n.Name].address; old != "" && old != n.Address() {
		// So it was no conflict, but the former life of a member that came back elsewhere.
		c.problems.clear(problemKey{nameConflict, n.Name})
	}
	c.book.join(n.Name, n.Address(), time.Now())
	c.changed.set()
	c.deliverable.set()
}

// NotifyLeave is called when a member has left or died: which, memberlist does not say here.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.book.leave(n.Name, time.Now())
	d.c.changed.set()
}

// NotifyUpdate is called when a member's meta data changes: there is none.
func (d delegate) NotifyUpdate(*memberlist.Node) {}

// NotifyConflict is called when a name is claimed for another address.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.c.metrics.troubles[nameConflict].Inc()
	d.c.tell(line{
		level: "ERR", trouble: nameConflict, from: existing.Name,
		text: fmt.Sprintf("%s and %s are both called %q: give each its own cluster.node (if one was just replaced by the other, wait)",
			existing.Address(), other.Address(), existing.Name),
	})
}

// NotifyMsg takes the facts of one member, from that member.
func (d delegate) NotifyMsg(b []byte) { d.c.hear(slices.Clone(b)) }

// LocalState is what this member hands to another in a push/pull.
func (d delegate) LocalState(bool) []byte {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return encodeState(d.c.book.state())
}

// MergeRemoteState takes what another hands to this member, after memberlist has merged its members.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	messages, err := decodeState(b)
	if err != nil {
		d.c.metrics.factsHeard.WithLabelValues(outcomeInvalid).Inc()
		d.c.tell(line{level: "WARN", text: "facts in a push/pull are not readable: " + err.Error()})
	}
	for _, m := range messages {
		d.c.hear(slices.Clone(m))
	}
	d.c.mu.Lock()
	others := len(d.c.book.alive(d.c.cfg.Node)) > 0
	d.c.mu.Unlock()
	if others {
		d.c.setKnown("a peer has answered")
	}
}

// NodeMeta is empty: 512 bytes would not hold the facts.
func (d delegate) NodeMeta(int) []byte { return nil }

// GetBroadcasts gives nothing: see Cluster.deliver.
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }

// hear files the message raw, which it keeps.
func (c *Cluster) hear(raw []byte) {
	m, err := decodeMessage(raw)
	if err != nil {
		c.metrics.factsHeard.WithLabelValues(outcomeInvalid).Inc()
		c.tell(line{level: "WARN", text: "facts are not readable: " + err.Error()})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Name == c.own.Name && m.Address == c.own.Address {
		// Only a former life of this member, with a clock that was ahead, can have said what is newer than its own words.
		if m.newerThan(&c.own) && m.Incarnation < maxIncarnation {
			c.own.Incarnation = m.Incarnation + 1
			c.say()
		}
		return
	}
	outcome := outcomeOld
	if c.book.hear(m, raw, time.Now()) {
		outcome = outcomeNew
		c.changed.set()
	}
	c.metrics.factsHeard.WithLabelValues(outcome).Inc()
}
