package gossip

import (
	"slices"
	"strings"
	"time"
)

const (
	// goneListed is how long members that left or died stay listed.
	goneListed = 5 * time.Minute
	// unknownKept is how long facts wait for their member to be seen.
	unknownKept = time.Minute
	// maxUnknown bounds the facts that wait.
	maxUnknown = 64
)

// book holds who is there, as memberlist sees it, and what each said last. It has no clock and no lock of its own.
//
// What a member says is filed under its name and address. So neither a namesake elsewhere nor the former life of a pod that came back with
// another address is ever taken for it, and facts may arrive before their member does.
type book struct {
	present map[string]presence
	said    map[origin]saying
}

type origin struct{ name, address string }

// presence is what memberlist says of a name.
type presence struct {
	address string
	alive   bool
	since   time.Time
}

// saying is the newest message of an origin, also as it came, to be handed on unchanged.
type saying struct {
	message
	raw []byte
	at  time.Time
}

func newBook() *book {
	return &book{present: map[string]presence{}, said: map[origin]saying{}}
}

func (b *book) join(name, address string, now time.Time) {
	b.present[name] = presence{address: address, alive: true, since: now}
}

func (b *book) leave(name string, now time.Time) {
	if p, ok := b.present[name]; ok {
		b.present[name] = presence{address: p.address, since: now}
	}
}

// hear files m unless it is old news. raw is m's encoding, which the book keeps.
func (b *book) hear(m *message, raw []byte, now time.Time) bool {
	key := origin{m.Name, m.Address}
	old, known := b.said[key]
	if known && !m.newerThan(&old.message) {
		return false
	}
	if !known && b.present[m.Name].address != m.Address {
		b.makeRoom(now)
	}
	b.said[key] = saying{message: *m, raw: raw, at: now}
	return true
}

// makeRoom drops facts that waited too long for their member and, while there are too many, the oldest.
func (b *book) makeRoom(now time.Time) {
	var oldest origin
	for {
		waiting := 0
		for key, s := range b.said {
			switch {
			case b.present[key.name].address == key.address:
				continue
			case now.Sub(s.at) > unknownKept:
				delete(b.said, key)
				continue
			case waiting == 0 || s.at.Before(b.said[oldest].at):
				oldest = key
			}
			waiting++
		}
		if waiting < maxUnknown {
			return
		}
		delete(b.said, oldest)
	}
}

// expire forgets members that went more than goneListed ago, and what they said.
func (b *book) expire(now time.Time) {
	for name, p := range b.present {
		if !p.alive && now.Sub(p.since) >= goneListed {
			delete(b.present, name)
			delete(b.said, origin{name, p.address})
		}
	}
	b.makeRoom(now)
}

// members lists all, sorted by name.
func (b *book) members() []Member {
	out := make([]Member, 0, len(b.present))
	for name, p := range b.present {
		m := Member{Name: name, Address: p.address, SeenAt: p.since}
		said, heard := b.said[origin{name, p.address}]
		if heard {
			m.Facts, m.SeenAt = said.Facts, said.at
		} else {
			m.State = Joining
		}
		if !p.alive {
			m.SeenAt = p.since
			// Its last words tell whether it meant to go: memberlist's event does not.
			if m.State != Left {
				m.State = Dead
			}
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// alive are the origins of the members that memberlist sees, but not of self.
func (b *book) alive(self string) []origin {
	var out []origin
	for name, p := range b.present {
		if p.alive && name != self {
			out = append(out, origin{name, p.address})
		}
	}
	return out
}

// gone are the addresses of members that went without a word, and of those that left with a good-bye.
func (b *book) gone() (dead, left []string) {
	for name, p := range b.present {
		switch {
		case p.alive:
		case b.said[origin{name, p.address}].Facts.State == Left:
			left = append(left, p.address)
		default:
			dead = append(dead, p.address)
		}
	}
	return dead, left
}

// state is what this member hands to another in a push/pull: the last message of each living member, itself included, as that wrote it.
func (b *book) state() [][]byte {
	var out [][]byte
	for name, p := range b.present {
		if s, ok := b.said[origin{name, p.address}]; ok && p.alive {
			out = append(out, s.raw)
		}
	}
	return out
}
