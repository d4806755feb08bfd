package hashring

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"sync"
)

// shards is shuffle sharding: each tenant has a ring of its own, of a few of the endpoints. Which ones follows from
// the tenant's name alone, by the method of Cortex.
type shards struct {
	endpoints []Endpoint
	replicas  int
	zones     []shardZone
	size      int         // endpoints of a tenant, over all zones
	overrides []shardSize // the first that matches a tenant counts
	capacity  int         // of cache

	mu    sync.Mutex
	cache map[string]*Ring // by tenant
}

type shardSize struct {
	tenants matcher
	size    int
}

// A shardZone is a zone out of which each tenant gets as many endpoints as out of the others.
type shardZone struct {
	name      string
	endpoints int
	sections  []section // ascending
}

// newShards returns the shards of a ketama ring's endpoints, with or without regard to their zones.
func newShards(r *Ring, zoned bool) *shards {
	name := func(e int32) string {
		if zoned {
			return r.endpoints[e].AZ
		}
		return ""
	}
	zones := map[string]*shardZone{}
	for e := range r.endpoints {
		zone := name(int32(e))
		if zones[zone] == nil {
			zones[zone] = &shardZone{name: zone}
		}
		zones[zone].endpoints++
	}
	for _, s := range newSections(r.endpoints) {
		zone := zones[name(s.endpoint)]
		zone.sections = append(zone.sections, s)
	}
	sh := &shards{endpoints: r.endpoints, replicas: r.replicas, cache: map[string]*Ring{}}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		sh.zones = append(sh.zones, *zones[zone])
	}
	return sh
}

// each returns how many endpoints of each zone a tenant gets.
func (sh *shards) each(size int) int { return (size + len(sh.zones) - 1) / len(sh.zones) }

// validate says what is wrong with a size.
func (sh *shards) validate(size int) error {
	smallest := slices.MinFunc(sh.zones, func(a, b shardZone) int { return a.endpoints - b.endpoints })
	lowest := (sh.each(sh.replicas)-1)*len(sh.zones) + 1
	highest := smallest.endpoints * len(sh.zones)
	switch {
	case lowest > highest:
		return fmt.Errorf("zone %q has too few endpoints for replication factor %d with equal numbers from every zone; add some to it, or set zone_awareness_disabled", smallest.name, sh.replicas)
	case size < lowest || size > highest:
		return fmt.Errorf("shard_size: %d; with these zones, endpoints and replication factor it must be from %d to %d", size, lowest, highest)
	}
	return nil
}

// ring returns the ring of this tenant. Its Endpoints are those of the tenant alone.
func (sh *shards) ring(tenant string) (*Ring, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.cache[tenant]; r != nil {
		return r, nil
	}
	r, err := New(Ketama, sh.pick(tenant), sh.replicas)
	if err != nil {
		return nil, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	if len(sh.cache) >= sh.capacity {
		for other := range sh.cache {
			delete(sh.cache, other)
			break
		}
	}
	sh.cache[strings.Clone(tenant)] = r // of a request's body perhaps
	return r, nil
}

// pick returns the endpoints of this tenant: for each, a random place on the zone's ring, and from there the first
// endpoint that is not the tenant's already.
func (sh *shards) pick(tenant string) []Endpoint {
	size := sh.size
	for i := range sh.overrides {
		if sh.overrides[i].tenants.match(tenant) {
			size = sh.overrides[i].size
			break
		}
	}
	var picked []Endpoint
	taken := make([]bool, len(sh.endpoints))
	for _, zone := range sh.zones {
		random := rand.New(rand.NewSource(seed(tenant, zone.name)))
		for range sh.each(size) {
			at := random.Uint64()
			i := sort.Search(len(zone.sections), func(i int) bool { return zone.sections[i].hash >= at })
			for i = i % len(zone.sections); taken[zone.sections[i].endpoint]; {
				i = (i + 1) % len(zone.sections)
			}
			e := zone.sections[i].endpoint
			taken[e] = true
			picked = append(picked, sh.endpoints[e])
		}
	}
	return picked
}

// seed is the first 64 bits of the MD5 of the tenant and, if there is one, 0 and the zone.
func seed(tenant, zone string) int64 {
	text := []byte(tenant)
	if zone != "" {
		text = append(append(text, 0), zone...)
	}
	sum := md5.Sum(text)
	return int64(binary.BigEndian.Uint64(sum[:]))
}
