package hashring

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// sectionsPerEndpoint is Thanos's. Another number would place series elsewhere.
const sectionsPerEndpoint = 1000

// A section is the part of the hash space that ends at hash.
type section struct {
	hash     uint64
	endpoint int32
}

// newSections returns the sections of all endpoints, ascending.
func newSections(endpoints []Endpoint) []section {
	sections := make([]section, 0, len(endpoints)*sectionsPerEndpoint)
	var name []byte
	for e := range endpoints {
		name = append(append(name[:0], endpoints[e].Address...), ':')
		for i := 1; i <= sectionsPerEndpoint; i++ {
			hash := xxhash.Sum64(strconv.AppendInt(name, int64(i), 10))
			sections = append(sections, section{hash: hash, endpoint: int32(e)})
		}
	}
	slices.SortFunc(sections, func(a, b section) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.endpoint, b.endpoint))
	})
	return sections
}

// place gives each section its owners: the endpoints met on the way around the ring from there, each once, that are in
// a zone which has given no more owners than any other zone that has an endpoint left.
//
// Thanos counts zones with nothing left too, and goes around for ever once one of those is behind the others (zones of
// 1 and 3 endpoints and replication factor 4). Wherever it comes to an end, the owners are the same.
func (r *Ring) place(sections []section) {
	z := newZones(r.endpoints)
	r.hashes = make([]uint64, len(sections))
	r.owners = make([]int32, 0, len(sections)*r.replicas)
	for i, s := range sections {
		r.hashes[i] = s.hash
		z.reset()
		for j, found := i, 0; found < r.replicas; j++ {
			if j == len(sections) {
				j = 0
			}
			if e := sections[j].endpoint; z.take(e) {
				r.owners = append(r.owners, e)
				found++
			}
		}
	}
	r.index()
}

// index makes starts, which has about one entry a section: with hashes as even as they are, the right one is then found
// in a step or two.
func (r *Ring) index() {
	leading := bits.Len(uint(len(r.hashes)))
	r.shift = 64 - uint(leading)
	r.starts = make([]int32, 1<<leading)
	i := 0
	for start := range r.starts {
		for i < len(r.hashes) && r.hashes[i]>>r.shift < uint64(start) {
			i++
		}
		r.starts[start] = int32(i)
	}
}

// zones tells which endpoints may be the next owner of a section.
type zones struct {
	of    []int32 // the zone of each endpoint
	size  []int32 // endpoints of each zone
	given []int32 // owners so far, of each zone
	taken []bool  // by endpoint
	least int32   // given by a zone that has an endpoint left
}

func newZones(endpoints []Endpoint) *zones {
	z := &zones{of: make([]int32, len(endpoints)), taken: make([]bool, len(endpoints))}
	numbers := map[string]int32{}
	for e := range endpoints {
		number, known := numbers[endpoints[e].AZ]
		if !known {
			number = int32(len(numbers))
			numbers[endpoints[e].AZ] = number
			z.size = append(z.size, 0)
		}
		z.of[e] = number
		z.size[number]++
	}
	z.given = make([]int32, len(z.size))
	return z
}

func (z *zones) reset() {
	clear(z.given)
	clear(z.taken)
	z.least = 0
}

// take takes the endpoint, or returns false if it is not its turn.
func (z *zones) take(e int32) bool {
	zone := z.of[e]
	if z.taken[e] || z.given[zone] > z.least {
		return false
	}
	z.taken[e] = true
	z.given[zone]++
	z.least = int32(len(z.of))
	for i, given := range z.given {
		if given < z.size[i] {
			z.least = min(z.least, given)
		}
	}
	return true
}
