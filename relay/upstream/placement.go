package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringside-project/ringside/relay/hashring"
)

// placement is the endpoints of an upstream, and what is placed on each. It
// never changes.
type placement struct {
	missing string            // why there are no endpoints; empty: there are
	set     *hashring.Set     // of a hashring file; else
	whole   *hashring.Ring    // the ring of every tenant
	members map[string]member // by the address in the rings
}

// member is an endpoint with what a placement says of it.
type member struct {
	*endpoint
	az string
}

func (p *placement) ring(tenant string) (*hashring.Ring, error) {
	if p.set == nil {
		return p.whole, nil
	}
	return p.set.Ring(tenant)
}

// sorted lists the members by URL.
func (p *placement) sorted() []member {
	all := make([]member, 0, len(p.members))
	for _, m := range p.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.address, b.address) })
	return all
}

// place puts next into force, with these endpoints in its rings; expand makes
// URLs of their addresses. Those that were there before are the same as before,
// with their breakers and all that is known of them.
func (u *Upstream) place(next *placement, ring []hashring.Endpoint, expand func(string) (string, error)) error {
	known := map[string]*endpoint{}
	old := u.placement.Load()
	if old != nil {
		for _, m := range old.members {
			known[m.address] = m.endpoint
		}
	}
	next.members = map[string]member{}
	addresses := map[string]string{} // in the ring, by URL
	for _, at := range ring {
		target, err := expand(at.Address)
		if err != nil {
			return fmt.Errorf("endpoint %s: %w", shownAddress(at.Address), err)
		}
		if other, twice := addresses[target]; twice {
			return fmt.Errorf("endpoints %s and %s lead to the same URL; copies must go to different ones", shownAddress(other), shownAddress(at.Address))
		}
		addresses[target] = at.Address
		if known[target] == nil {
			if known[target], err = newEndpoint(target); err != nil {
				return fmt.Errorf("endpoint %s: %w", shownAddress(at.Address), err)
			}
		}
		next.members[at.Address] = member{known[target], at.AZ}
	}
	for _, m := range next.members {
		if m.metrics.duration == nil {
			m.metrics = u.options.Metrics.endpoint(u.config.Name, m.shown)
		}
	}
	u.placement.Store(next)
	u.forgetGone(old, next)
	return nil
}

// forgetGone removes the metrics of endpoints that are no more.
func (u *Upstream) forgetGone(old, next *placement) {
	if old == nil {
		return
	}
	shown := map[string]bool{}
	for _, m := range next.members {
		shown[m.shown] = true
	}
	for _, m := range old.members {
		if !shown[m.shown] {
			u.options.Metrics.forget(u.config.Name, m.shown)
			u.lines.forget(copyKind(m.endpoint))
		}
	}
}

// shownAddress is an address of a ring without what may be secret.
func shownAddress(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if _, after, found := strings.Cut(address, "@"); found {
		return after
	}
	return address
}
