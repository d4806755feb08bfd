package wire

import (
	"encoding/binary"
	"unsafe"
)

// alike remembers the names of the last 2.0 series that was read: those of one metric family have the same names in the
// same order, and what was found of their order once need not be found again.
type alike struct {
	count int                    // of labels; 0: nothing is remembered
	names [maxAlikeLabels]uint32 // references
	index int                    // of the label at the place of the one name that is looked for, count at the end
	there bool                   // it is the one
}

// maxAlikeLabels bounds the labels of a series that is remembered.
const maxAlikeLabels = 32

// follow reads the packed references of a series and notes the place of the one name that is looked for, if its names are
// the last ones, and all references are short and less than symbols.
func (a *alike) follow(body []byte, packed span, symbols uint32, places []place) bool {
	p, i, at, after := int(packed.from), 0, int(packed.to), int(packed.to)
	// The 4 bytes of two references at p are within body.
	for end := min(int(packed.to), len(body)-3); p < end && i < a.count; i++ {
		w := binary.LittleEndian.Uint32((*[4]byte)(unsafe.Pointer(&body[p]))[:])
		name, n := w&0x7f, 2
		if w&0x80 != 0 {
			name, n = w&0x7f|w>>1&0x3f80, 3
			w >>= 8
		}
		value := w >> 8 & 0x7f
		if w&0x8000 != 0 {
			value |= w >> 9 & 0x3f80
			n++
			w >>= 8
		}
		if w&0x8000 != 0 || name != a.names[i&(maxAlikeLabels-1)] || value >= symbols {
			return false // the names differ, or a reference is long
		}
		if i == a.index {
			at, after = p, p+n
		}
		p += n
	}
	if i != a.count || p != int(packed.to) || i == 0 {
		return false
	}
	if len(places) == 1 {
		places[0] = place{at: uint32(at)}
		if a.there {
			places[0].size = uint32(after - at)
		}
	}
	return true
}

// remember takes over the names of a series whose references were checked.
func (a *alike) remember(body []byte, packed span, places []place) {
	a.count, a.index, a.there = 0, maxAlikeLabels, false
	if len(places) > 1 {
		return
	}
	n := 0
	for p := int(packed.from); p < int(packed.to); n++ {
		name, _, end := shortRefPair(body[:packed.to], p)
		if n == maxAlikeLabels || end == 0 {
			return
		}
		a.names[n] = name
		if len(places) == 1 && int(places[0].at) == p {
			a.index, a.there = n, places[0].size > 0
		}
		p = end
	}
	a.count = n
}
