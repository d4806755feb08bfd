// Package placement decides which members own a key: rendezvous hashing (highest random weight; Thaler and
// Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996) with zones, replicas and capacities.
//
// It is pure: the same members and keys give the same owners on every machine and architecture, in whatever order
// they were given. What a key stands for, who is a member and what follows from a change of owner is left to others.
package placement

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// algorithm goes into every Digest. Raise it with any change of who owns what: members that run different versions
// then never take each other's views for equal, and scrape twice rather than never while an upgrade rolls out.
const algorithm = 1

// Member is one that may own keys.
type Member struct {
	Name     string // unique; the only thing that is hashed
	Zone     string // owners of one key are in distinct zones while there are enough; no zone is a zone like any other
	Capacity int64  // in series; 0 or less: none given
}

// Members is a set of members, sorted by name, that never changes: any number of goroutines may use it.
//
// Capacities count only when every member gives one and they are not all equal: then each member's share of the keys
// is in proportion to its capacity. Otherwise all shares are equal.
type Members struct {
	list       []Member
	hashes     []uint64 // of the names
	zones      []int32  // numbers for the zones, by member
	zoneCount  int
	capacities []uint64 // nil unless they count
}

// NewMembers returns the set of these members. Of several with one name, the one with the lowest zone, then capacity,
// is taken.
func NewMembers(members []Member) *Members {
	list := slices.Clone(members)
	for i := range list {
		list[i].Capacity = max(list[i].Capacity, 0)
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Capacity, b.Capacity))
	})
	list = slices.CompactFunc(list, func(a, b Member) bool { return a.Name == b.Name })

	m := &Members{list: list, hashes: make([]uint64, len(list)), zones: make([]int32, len(list))}
	numbers := map[string]int32{}
	weighted, equal := true, true
	for i, member := range list {
		m.hashes[i] = Key(member.Name)
		number, known := numbers[member.Zone]
		if !known {
			number = int32(len(numbers))
			numbers[member.Zone] = number
		}
		m.zones[i] = number
		weighted = weighted && member.Capacity > 0
		equal = equal && member.Capacity == list[0].Capacity
	}
	m.zoneCount = len(numbers)
	if weighted && !equal {
		m.capacities = make([]uint64, len(list))
		for i, member := range list {
			m.capacities[i] = uint64(member.Capacity)
		}
	}
	return m
}

// Len returns how many members there are.
func (m *Members) Len() int { return len(m.list) }

// At returns the i-th member by name.
func (m *Members) At(i int) Member { return m.list[i] }

// Digest returns a hash of the names, zones and capacities, and of the algorithm: members with equal digests agree on
// the owners of every key.
func (m *Members) Digest() uint64 {
	b := binary.AppendUvarint(nil, algorithm)
	for _, member := range m.list {
		b = binary.AppendUvarint(b, uint64(len(member.Name)))
		b = append(b, member.Name...)
		b = binary.AppendUvarint(b, uint64(len(member.Zone)))
		b = append(b, member.Zone...)
		b = binary.AppendUvarint(b, uint64(member.Capacity))
	}
	return xxhash.Sum64(b)
}

// Order returns the indexes of all members in the key's order, best first. The key's owners are the first of them,
// less those that share a zone with a better one while there are other zones.
func (m *Members) Order(key uint64) []int {
	all := make([]candidate, m.Len())
	for i := range all {
		all[i] = m.candidate(key, i)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		if m.better(a, b) {
			return -1
		}
		return 1
	})
	order := make([]int, len(all))
	for i, c := range all {
		order[i] = int(c.member)
	}
	return order
}
