package hashring

import (
	"fmt"
	"path"
	"slices"
)

// Set is the rings of a hashrings file. Any number of goroutines may use it.
type Set struct {
	rings     []tenantRing // in the order of the file: the first that matches a tenant has it
	endpoints []Endpoint
}

// A tenantRing is one entry of the file.
type tenantRing struct {
	tenants matcher
	ring    *Ring
	shards  *shards // nil: each tenant has the whole ring
}

// Ring returns the ring of this tenant.
func (s *Set) Ring(tenant string) (*Ring, error) {
	for i := range s.rings {
		switch r := &s.rings[i]; {
		case !r.tenants.match(tenant):
		case r.shards == nil:
			return r.ring, nil
		default:
			return r.shards.ring(tenant)
		}
	}
	return nil, fmt.Errorf("no hashring for tenant %q; name it in one, or end the file with one that lists no tenants", tenant)
}

// Endpoints returns the endpoints of all rings, each address once and in order. The slice is the set's own.
func (s *Set) Endpoints() []Endpoint { return s.endpoints }

// collect gathers the endpoints of the rings.
func (s *Set) collect() {
	for i := range s.rings {
		s.endpoints = append(s.endpoints, s.rings[i].ring.endpoints...)
	}
	slices.SortStableFunc(s.endpoints, byAddress)
	s.endpoints = slices.CompactFunc(s.endpoints, func(a, b Endpoint) bool { return a.Address == b.Address })
}

// A matcher matches tenants. One without any matches all.
type matcher struct {
	exact map[string]bool
	globs []string
}

func (m *matcher) match(tenant string) bool {
	if len(m.exact) == 0 && len(m.globs) == 0 {
		return true
	}
	return m.exact[tenant] || slices.ContainsFunc(m.globs, func(glob string) bool {
		matched, _ := path.Match(glob, tenant) // of a pattern that newMatcher has tried
		return matched
	})
}

// newMatcher returns the matcher of these tenants. kind is exact, which is also the default, or glob.
func newMatcher(tenants []string, kind string) (matcher, error) {
	switch kind {
	case "", "exact":
		m := matcher{exact: make(map[string]bool, len(tenants))}
		for _, tenant := range tenants {
			m.exact[tenant] = true
		}
		return m, nil
	case "glob":
		for i, glob := range tenants {
			if _, err := path.Match(glob, ""); err != nil {
				return matcher{}, fmt.Errorf("tenants[%d]: %q is no pattern; close its [ and write \\ before a character that stands for itself", i, glob)
			}
		}
		return matcher{globs: tenants}, nil
	}
	return matcher{}, fmt.Errorf("tenant_matcher_type: %q is unknown; write exact or glob", kind)
}
