package placement

import "slices"

// Assign returns the owners of each key: len(keys)*replicas indexes into m, those of one key side by side and best
// first, -1 where there are fewer members than replicas (of which there must be at least one). They are the first in the
// key's order of as many distinct zones as there are, and then the first of the others. dst is overwritten, and used for
// the result if it has the room. It takes O(keys × members) time and allocates nothing by key.
func Assign(m *Members, replicas int, keys []uint64, dst []int32) []int32 {
	dst = slices.Grow(dst[:0], len(keys)*replicas)[:len(keys)*replicas]
	if replicas == 1 && m.capacities == nil && m.Len() > 0 { // the usual case, at twice the speed
		for k, key := range keys {
			dst[k] = m.first(key)
		}
		return dst
	}
	c := newChoice(m, replicas)
	for k, key := range keys {
		c.among(key)
		c.put(dst[k*replicas:][:replicas])
	}
	return dst
}

// Reassign returns what Assign(next, replicas, keys, nil) does. owners is what Assign or Reassign returned for prev and
// the same replicas and keys, and stays as it is. It takes O(keys) time for each member that joined, and O(keys had ×
// members) for one that left; whose zone or capacity changed has done both. All keys are assigned anew only when
// capacities begin or cease to count.
func Reassign(prev, next *Members, replicas int, keys []uint64, owners []int32) []int32 {
	if (prev.capacities == nil) != (next.capacities == nil) {
		return Assign(next, replicas, keys, nil)
	}
	kept, joined := difference(prev, next)
	dst := make([]int32, len(keys)*replicas)
	c := newChoice(next, replicas)
	for k, key := range keys {
		mine := dst[k*replicas:][:replicas]
		// Who leaves without having owned the key changes nothing, and a choice may see members in any order.
		if !translate(mine, owners[k*replicas:][:replicas], kept) {
			c.among(key)
			c.put(mine)
		} else if len(joined) > 0 {
			c.resume(key, mine)
			c.offer(joined)
			c.put(mine)
		}
	}
	return dst
}

// difference returns, by index into prev, the index into next of each member that is the same in both, else -1, and the
// indexes into next of the others.
func difference(prev, next *Members) (kept []int32, joined []int) {
	kept = make([]int32, prev.Len())
	for p, n := 0, 0; p < prev.Len() || n < next.Len(); {
		switch {
		case n == next.Len() || p < prev.Len() && prev.list[p].Name < next.list[n].Name:
			kept[p] = -1
			p++
		case p == prev.Len() || prev.list[p].Name > next.list[n].Name:
			joined = append(joined, n)
			n++
		default:
			kept[p] = int32(n)
			a, b := prev.list[p], next.list[n]
			if a.Zone != b.Zone || next.capacities != nil && a.Capacity != b.Capacity {
				kept[p] = -1
				joined = append(joined, n)
			}
			p++
			n++
		}
	}
	return kept, joined
}

// translate writes owners to dst by their new indexes, or returns false if one of them was not kept.
func translate(dst, owners, kept []int32) bool {
	for i, owner := range owners {
		dst[i] = -1
		if owner >= 0 {
			if dst[i] = kept[owner]; dst[i] < 0 {
				return false
			}
		}
	}
	return true
}

// A choice is the owners of one key among the members it has seen. It depends on which those are, not on their order.
type choice struct {
	m        *Members
	replicas int
	key      uint64
	owners   []candidate // best first
	closed   bool        // only who is better than the last owner can still become one
}

// newChoice chooses that many of m, or all if there are fewer.
func newChoice(m *Members, replicas int) *choice {
	replicas = min(replicas, m.Len())
	return &choice{m: m, replicas: replicas, owners: make([]candidate, 0, replicas+1)}
}

// among chooses among all members.
func (c *choice) among(key uint64) {
	c.key, c.owners, c.closed = key, c.owners[:0], false
	for i, n := 0, c.m.Len(); i < n; i++ {
		if c.closed {
			if i = c.m.next(key, i, n, c.last()); i == n {
				return
			}
		}
		c.add(i)
	}
}

// resume takes up the choice that had these owners, -1 for none.
func (c *choice) resume(key uint64, owners []int32) {
	c.key, c.owners, c.closed = key, c.owners[:0], false
	for _, member := range owners {
		if member >= 0 {
			c.owners = append(c.owners, c.m.candidate(key, int(member)))
		}
	}
	c.close()
}

// offer adds those of the members, all new, that can become owners.
func (c *choice) offer(members []int) {
	for _, i := range members {
		if !c.closed || c.m.next(c.key, i, i+1, c.last()) == i {
			c.add(i)
		}
	}
}

func (c *choice) last() candidate { return c.owners[len(c.owners)-1] }

// add puts a member in its place and, when that is one too many, drops the last of those that share a zone with a
// better one, or else the last of all.
func (c *choice) add(i int) {
	added := c.m.candidate(c.key, i)
	c.owners = append(c.owners, added)
	at := len(c.owners) - 1
	for ; at > 0 && c.m.better(added, c.owners[at-1]); at-- {
		c.owners[at] = c.owners[at-1]
	}
	c.owners[at] = added
	if len(c.owners) > c.replicas {
		drop := c.replicas
		for drop > 0 && !c.doubles(drop) {
			drop--
		}
		if drop == 0 {
			drop = c.replicas
		}
		copy(c.owners[drop:], c.owners[drop+1:])
		c.owners = c.owners[:c.replicas]
	}
	if !c.closed {
		c.close()
	}
}

// doubles tells whether a better owner is in the same zone.
func (c *choice) doubles(at int) bool {
	zone := c.m.zones[c.owners[at].member]
	for _, better := range c.owners[:at] {
		if c.m.zones[better.member] == zone {
			return true
		}
	}
	return false
}

// close closes the choice when there are enough owners and no further zone can displace one of them.
func (c *choice) close() {
	if len(c.owners) < c.replicas {
		return
	}
	zones := 0
	for at := range c.owners {
		if !c.doubles(at) {
			zones++
		}
	}
	c.closed = zones == min(c.replicas, c.m.zoneCount)
}

// put writes the owners to dst.
func (c *choice) put(dst []int32) {
	for i := range dst {
		dst[i] = -1
		if i < len(c.owners) {
			dst[i] = c.owners[i].member
		}
	}
}
