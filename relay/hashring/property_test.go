package hashring_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/relay/hashring"
)

// endpointLists draws from 1 to 9 endpoints with distinct addresses, in up to this many zones.
func endpointLists(zones int) *rapid.Generator[[]hashring.Endpoint] {
	return rapid.Custom(func(t *rapid.T) []hashring.Endpoint {
		zone := rapid.SampledFrom([]string{"", "a", "b", "c"}[:rapid.IntRange(1, zones).Draw(t, "zones")])
		addresses := rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 1, 9, rapid.ID[int]).Draw(t, "addresses")
		var endpoints []hashring.Endpoint
		for _, a := range addresses {
			endpoints = append(endpoints, hashring.Endpoint{Address: fmt.Sprintf("receive-%d:10901", a), AZ: zone.Draw(t, "zone")})
		}
		return endpoints
	})
}

var someHashes = rapid.SliceOfN(rapid.Uint64(), 1, 50)

func newRing(t *rapid.T, alg hashring.Algorithm, endpoints []hashring.Endpoint, replicas int) *hashring.Ring {
	r, err := hashring.New(alg, endpoints, replicas)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func owners(r *hashring.Ring, hash uint64) []hashring.Endpoint {
	var all []hashring.Endpoint
	for _, i := range r.Owners(hash, nil) {
		all = append(all, r.Endpoints()[i])
	}
	return all
}

// Every ring that New takes gives each series distinct owners, no zone gets a second one before all others that can
// have as many, and the order of the endpoints does not matter.
func TestOwners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alg, zones := hashring.Ketama, 4
		if rapid.Bool().Draw(t, "hashmod") {
			alg, zones = hashring.Hashmod, 1
		}
		endpoints := endpointLists(zones).Draw(t, "endpoints")
		replicas := rapid.IntRange(1, len(endpoints)).Draw(t, "replicas")
		ring := newRing(t, alg, endpoints, replicas)
		shuffled := newRing(t, alg, rapid.Permutation(endpoints).Draw(t, "order"), replicas)
		size := byZone(endpoints)
		for _, hash := range someHashes.Draw(t, "hashes") {
			got := owners(ring, hash)
			if again := owners(shuffled, hash); !slices.Equal(got, again) {
				t.Fatalf("owners %v, and in another order of endpoints %v", got, again)
			}
			distinct := map[hashring.Endpoint]bool{}
			for _, e := range got {
				distinct[e] = true
			}
			if len(got) != replicas || len(distinct) != replicas {
				t.Fatalf("%d distinct of %d owners, want %d", len(distinct), len(got), replicas)
			}
			given := byZone(got)
			for zone := range size {
				for other := range size {
					if given[zone] > given[other]+1 && given[other] < size[other] {
						t.Fatalf("%d owners in zone %q, %d of %d endpoints of zone %q", given[zone], zone, given[other], size[other], other)
					}
				}
			}
		}
	})
}

// The primary is the endpoint of the first section at or after the hash, as the published algorithm has it.
func TestPrimary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		endpoints := endpointLists(1).Draw(t, "endpoints")
		ring := newRing(t, hashring.Ketama, endpoints, 1)
		sections := map[uint64]hashring.Endpoint{}
		for _, e := range endpoints {
			for i := 1; i <= 1000; i++ {
				sections[xxhash.Sum64String(fmt.Sprintf("%s:%d", e.Address, i))] = e
			}
		}
		ends := slices.Sorted(maps.Keys(sections))
		some := rapid.SampledFrom(ends).Draw(t, "section")
		for _, hash := range append(someHashes.Draw(t, "hashes"), some-1, some, some+1, ends[len(ends)-1], 0, math.MaxUint64) {
			i := sort.Search(len(ends), func(i int) bool { return ends[i] >= hash })
			if want, got := sections[ends[i%len(ends)]], owners(ring, hash)[0]; got != want {
				t.Fatalf("hash %#x: primary %v, want %v", hash, got, want)
			}
		}
	})
}

func byZone(endpoints []hashring.Endpoint) map[string]int {
	n := map[string]int{}
	for _, e := range endpoints {
		n[e.AZ]++
	}
	return n
}

// Without zones, an endpoint that joins takes its place among the owners of a series and moves nothing else.
func TestJoinMovesOnlyWhatItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		endpoints := endpointLists(1).Draw(t, "endpoints")
		replicas := rapid.IntRange(1, len(endpoints)).Draw(t, "replicas")
		joiner := hashring.Endpoint{Address: "joiner:10901"}
		before := newRing(t, hashring.Ketama, endpoints, replicas)
		after := newRing(t, hashring.Ketama, append(slices.Clone(endpoints), joiner), replicas)
		for _, hash := range someHashes.Draw(t, "hashes") {
			old, now := owners(before, hash), owners(after, hash)
			kept := slices.DeleteFunc(slices.Clone(now), func(e hashring.Endpoint) bool { return e == joiner })
			if !slices.Equal(kept, old[:len(kept)]) || len(kept) < replicas-1 {
				t.Fatalf("owners %v became %v", old, now)
			}
		}
	})
}

// A tenant's shard has the asked-for number of endpoints, as many of each zone, always the same ones, and nearly the
// same ones when an endpoint joins.
func TestShards(t *testing.T) {
	const zones, perZone = 3, 4
	file := func(extra string) string {
		text := `[{"algorithm": "ketama", "shuffle_sharding_config": {"shard_size": 6, "cache_size": 3}, "endpoints": [` + extra
		for i := range zones * perZone {
			text += fmt.Sprintf(`{"address": "receive-%d", "az": "%d"},`, i, i%zones)
		}
		return text[:len(text)-1] + "]}]"
	}
	before, err := hashring.Parse([]byte(file("")), "", 2)
	if err != nil {
		t.Fatal(err)
	}
	after, err := hashring.Parse([]byte(file(`{"address": "joiner", "az": "1"},`)), "", 2)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		tenant := rapid.StringN(0, 5, -1).Draw(t, "tenant")
		shard, wider := shard(t, before, tenant), shard(t, after, tenant)
		if n := byZone(shard); len(n) != zones || n["0"] != 2 || n["1"] != 2 || n["2"] != 2 {
			t.Fatalf("endpoints by zone: %v", n)
		}
		var left []hashring.Endpoint
		for _, e := range shard {
			if !slices.Contains(wider, e) {
				left = append(left, e)
			}
		}
		if joined := slices.ContainsFunc(wider, func(e hashring.Endpoint) bool { return e.Address == "joiner" }); len(left) > 1 || (len(left) == 1) != joined {
			t.Fatalf("%v became %v", shard, wider)
		}
	})
}

func shard(t *rapid.T, s *hashring.Set, tenant string) []hashring.Endpoint {
	r, err := s.Ring(tenant)
	if err != nil {
		t.Fatal(err)
	}
	return r.Endpoints()
}
