package wire

import (
	"bytes"
	"math"
)

// tally checks that labels are sorted, each there once, and notes where those of interest are or would be.
type tally struct {
	names  *Names
	places []place
	next   int    // index in names: those before have their place
	last   []byte // name of the last label
}

// add takes the next label, whose data is at p. It returns false if the label is out of order, there already, or has no name.
func (t *tally) add(name []byte, p place) bool {
	if bytes.Compare(t.last, name) >= 0 {
		return false
	}
	t.last = name
	for t.next < len(t.places) {
		c := bytes.Compare(name, []byte(t.names.sorted[t.next]))
		if c < 0 {
			break
		}
		t.places[t.next] = place{p.at, 0}
		if c == 0 {
			t.places[t.next] = p
		}
		t.next++
		if c == 0 {
			break
		}
	}
	return true
}

// end notes the place of what was not found.
func (t *tally) end(at int) {
	for ; t.next < len(t.places); t.next++ {
		t.places[t.next] = place{uint32(at), 0}
	}
}

// target is the key of the next name to look up.
func (t *tally) target() uint64 {
	if t.next < len(t.places) {
		return t.names.keys[t.next]
	}
	return math.MaxUint64
}
