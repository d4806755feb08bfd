// Package hashring places series on endpoints just as Thanos Receive's router does (pkg/receive of Thanos 0.42): its
// hash, its ketama ring with zones, its hashmod, and its hashrings file with tenants and shuffle sharding.
//
// It is pure: the same file gives the same owners everywhere, in whatever order it lists the endpoints. Reading and
// watching the file, and sending to endpoints, are left to others.
package hashring

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Endpoint is one that may own series.
type Endpoint struct {
	Address string // unique in a ring; the only thing that is hashed
	AZ      string // availability zone; none is a zone like any other
}

// Algorithm is a way to place series.
type Algorithm string

// The algorithms of Thanos Receive.
const (
	Ketama  Algorithm = "ketama"  // consistent: a change of endpoints moves only the series it must
	Hashmod Algorithm = "hashmod" // a change of endpoints moves nearly all series; knows no zones
)

// Ring places series on endpoints. It never changes: any number of goroutines may use it.
type Ring struct {
	endpoints []Endpoint // by address
	replicas  int
	hashes    []uint64 // of the sections, ascending; nil: hashmod
	owners    []int32  // replicas of them for each section
	starts    []int32  // by the leading bits of a hash: the first section that can have it
	shift     uint     // by which those bits are found
}

// New returns the ring of these endpoints, of which each series gets replicas.
func New(alg Algorithm, endpoints []Endpoint, replicas int) (*Ring, error) {
	r := &Ring{endpoints: slices.Clone(endpoints), replicas: replicas}
	slices.SortFunc(r.endpoints, byAddress)
	if err := r.validate(alg); err != nil {
		return nil, err
	}
	if alg == Ketama {
		r.place(newSections(r.endpoints))
	}
	return r, nil
}

func (r *Ring) validate(alg Algorithm) error {
	switch {
	case alg != Ketama && alg != Hashmod:
		return fmt.Errorf("algorithm: %q is unknown; write %s or %s", alg, Ketama, Hashmod)
	case len(r.endpoints) == 0:
		return fmt.Errorf("endpoints: none; list at least one address such as receive-0:10901")
	case r.replicas < 1 || r.replicas > len(r.endpoints):
		return fmt.Errorf("replication factor: %d; with %d endpoints it must be from 1 to %d", r.replicas, len(r.endpoints), len(r.endpoints))
	}
	for i, e := range r.endpoints {
		switch {
		case e.Address == "":
			return fmt.Errorf("endpoints: one has no address; write one such as receive-0:10901")
		case i > 0 && e.Address == r.endpoints[i-1].Address:
			return fmt.Errorf("endpoints: %q is there twice; list it once, or copies of a series would go to one place", e.Address)
		case alg == Hashmod && e.AZ != "":
			return fmt.Errorf("endpoints: %q has a zone, and %s knows none; leave az out, or write algorithm %s", e.Address, Hashmod, Ketama)
		}
	}
	return nil
}

// Endpoints returns the endpoints, sorted by address. The slice is the ring's own.
func (r *Ring) Endpoints() []Endpoint { return r.endpoints }

// Owners appends to dst the indexes into Endpoints of the replicas endpoints that own the series of this Hash, the
// primary first. They are distinct, and as evenly spread over the zones as these allow.
func (r *Ring) Owners(hash uint64, dst []int32) []int32 {
	if r.hashes == nil {
		first := int(hash % uint64(len(r.endpoints))) // not (hash+n)%…, whose overflow in Thanos puts both copies of one series in 2⁶⁴ in one place
		for n := range r.replicas {
			dst = append(dst, int32((first+n)%len(r.endpoints)))
		}
		return dst
	}
	i := int(r.starts[hash>>r.shift])
	for i < len(r.hashes) && r.hashes[i] < hash {
		i++
	}
	if i == len(r.hashes) {
		i = 0
	}
	return append(dst, r.owners[i*r.replicas:][:r.replicas]...)
}

// Hash returns the hash by which a tenant's series is placed: xxhash64 of tenant 0xFF key, where key is the sorted
// labels as name 0xFF value 0xFF, one after the other.
func Hash(tenant string, key []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(tenant)
	_, _ = d.Write(separator)
	_, _ = d.Write(key)
	return d.Sum64()
}

var separator = []byte{0xff}

// Quorum returns how many of the replicas of a series must be written for it to count as written: more than half,
// but one of two, as Thanos Receive has it.
func Quorum(replicas int) int {
	if replicas == 2 {
		return 1
	}
	return replicas/2 + 1
}

func byAddress(a, b Endpoint) int { return strings.Compare(a.Address, b.Address) }
