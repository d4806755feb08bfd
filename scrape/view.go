package scrape

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/ringside-project/ringside/scrape/placement"
)

// membersOf lists who may own the job's targets: the active members that
// serve it. It is the job's own list if that is still right.
func (c *core) membersOf(j *job) *placement.Members {
	same, n := j.members != nil, 0
	for _, m := range c.active {
		if c.serves(m, j) {
			same = same && n < j.members.Len() && j.members.At(n) == owner(m)
			n++
		}
	}
	if same && n == j.members.Len() {
		return j.members
	}
	members := make([]placement.Member, 0, n)
	for _, m := range c.active {
		if c.serves(m, j) {
			members = append(members, owner(m))
		}
	}
	return placement.NewMembers(members)
}

func (c *core) serves(m Member, j *job) bool {
	if m.Name == c.node {
		return j.synced && j.loaded
	}
	_, serves := m.Jobs[j.id]
	return serves
}

func owner(m Member) placement.Member {
	return placement.Member{Name: m.Name, Zone: m.Zone, Capacity: max(m.CapacitySeries, 0)}
}

// reason says why a target went from one member to another.
func (c *core) reason(from, to string, prev *placement.Members) string {
	if from != "" {
		switch state := c.stateOf(from); state {
		case Dead:
			return "crash"
		case Left, "": // nobody knows of it any more
			return "leave"
		case Unready, Draining:
			return string(state)
		}
	}
	if to != "" && indexOf(prev, to) < 0 {
		return "join"
	}
	return "config"
}

func (c *core) stateOf(name string) State {
	if name == c.node {
		return c.state
	}
	return c.peers[name].State
}

// confirmed tells for each member of the job's view whether it is known to
// have applied that same view.
func (c *core) confirmed(j *job) []bool {
	if j.members == nil {
		return nil
	}
	out := make([]bool, j.members.Len())
	for i := range out {
		if name := j.members.At(i).Name; name == c.node {
			out[i] = c.applied(j)
		} else {
			out[i] = c.peers[name].Jobs[j.id].Applied == j.view
		}
	}
	return out
}

// applied tells whether this member's Prometheus has been seen to scrape all
// targets of the job that the member owns.
func (c *core) applied(j *job) bool {
	return j.synced && j.pending == 0 && !c.halted
}

func digest(parts ...uint64) uint64 {
	buf := make([]byte, 0, 8*len(parts))
	for _, p := range parts {
		buf = binary.LittleEndian.AppendUint64(buf, p)
	}
	return xxhash.Sum64(buf)
}
