package upstream

import (
	"net/http"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/relay/hashring"
	"github.com/ringside-project/ringside/relay/wire"
)

// thanosTenant is the tenant by which Thanos Receive places the series of a
// request that names none.
const thanosTenant = "default-tenant"

// route makes the parts in which cargo goes to its endpoints.
func (d *delivery) route(all []cargo) {
	p := d.placement.Load()
	for _, c := range all {
		if p.missing != "" {
			d.result.book(failed, d.sum(c.rows), answer{status: http.StatusServiceUnavailable, text: p.missing})
			continue
		}
		tenant := d.hashTenant(c)
		ring, err := p.ring(tenant)
		if err != nil {
			d.result.book(failed, d.sum(c.rows), answer{status: http.StatusServiceUnavailable, text: err.Error()})
			continue
		}
		d.routed = append(d.routed, c)
		if endpoints := ring.Endpoints(); len(endpoints) == d.copies {
			d.toAll(c, p, endpoints)
			continue
		}
		s := spread{delivery: d, cargo: c, tenant: tenant, ring: ring, placement: p}
		s.run()
	}
}

func (d *delivery) hashTenant(c cargo) string {
	switch {
	case c.tenant != "":
		return c.tenant
	case d.config.Tenant.Value != "":
		return string(d.config.Tenant.Value)
	}
	return thanosTenant
}

// toAll sends cargo to every endpoint, in a body that is made once.
func (d *delivery) toAll(c cargo, p *placement, endpoints []hashring.Endpoint) {
	first := len(d.parts)
	working := 0
	for _, e := range endpoints {
		to := p.members[e.Address].endpoint
		d.parts = append(d.parts, part{to: to, tenant: c.tenant, rows: c.rows})
		if to.breaker.state() == stateClosed {
			working++
		}
	}
	if working < 2 {
		return
	}
	shared := d.render(d.sends(d.batch.Message()), c.rows)
	for i := first; i < len(d.parts); i++ {
		shared.users.Add(1)
		d.parts[i].body = shared
	}
	shared.release()
}

// spread divides cargo among the endpoints of a ring.
type spread struct {
	*delivery
	cargo     cargo
	tenant    string
	ring      *hashring.Ring
	placement *placement
	owners    []int32 // of one row after the other, as many as there are copies
	rows      []int   // how many each endpoint of the ring gets
}

func (s *spread) run() {
	s.rows = make([]int, len(s.ring.Endpoints()))
	if s.batch.Len() == 0 {
		for _, owner := range s.ring.Owners(hashring.Hash(s.tenant, nil), nil) {
			s.add(owner, nil)
		}
		return
	}
	rows := s.listed(s.cargo.rows)
	s.locate(rows)
	shares := make([][]wire.Row, len(s.rows))
	memory := make([]wire.Row, len(s.owners))
	for owner, n := range s.rows {
		shares[owner], memory = memory[:0:n], memory[n:]
	}
	for i, owner := range s.owners {
		shares[owner] = append(shares[owner], rows[i/s.copies])
	}
	for owner, share := range shares {
		if len(share) > 0 {
			s.add(int32(owner), share)
		}
	}
}

// locate finds the owners of each row.
func (s *spread) locate(rows []wire.Row) {
	s.owners = make([]int32, 0, len(rows)*s.copies)
	var key []byte
	for _, row := range rows {
		key = s.appendKey(key[:0], row)
		s.owners = s.ring.Owners(hashring.Hash(s.tenant, key), s.owners)
	}
	for _, owner := range s.owners {
		s.rows[owner]++
	}
}

func (s *spread) add(owner int32, rows []wire.Row) {
	to := s.placement.members[s.ring.Endpoints()[owner].Address].endpoint
	s.parts = append(s.parts, part{to: to, tenant: s.cargo.tenant, rows: rows})
}

// appendKey appends what a row is hashed by.
func (s *spread) appendKey(key []byte, row wire.Row) []byte {
	if !row.Replaced {
		return s.batch.AppendKey(key, int(row.Series), s.edit)
	}
	row.Labels.Range(func(l labels.Label) {
		key = append(append(key, l.Name...), 0xff)
		key = append(append(key, l.Value...), 0xff)
	})
	return key
}
