package wire

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"
)

// shapeV2 is what the packed references of a 2.0 series looked like: those of its names, and how many bytes each takes.
// Series near each other are mostly alike in that, and then it takes a comparison of a few words to know that they are
// sorted, and where the labels of interest are.
type shapeV2 struct {
	size   int                // bytes of the references, or 0
	want   [shapeWords]uint64 // the references
	fixed  [shapeWords]uint64 // bits of them: those of names, and of values those that say that a varint goes on
	top    [shapeWords]uint64 // the upper bit of each byte that tells whether a value is a symbol: see below
	wide   []uint8            // where values of 2 bytes start
	places []place            // counted from the first reference
}

const (
	shapeWords = 16
	shapes     = 16 // are kept, by their size
)

// below returns what carries into the upper bit of a byte that is no symbol, if there are less than 0x80 symbols, and else
// into that of the second byte of a reference that may be none.
func below(symbols int) uint64 {
	if symbols >= 0x80 {
		symbols = min(0x80, symbols>>7)
	}
	return uint64(0x80-symbols) * 0x0101010101010101
}

// alike says whether packed references are as in the shape, and all refer to one of the symbols. What follows them in refs
// rounds them up to words.
func (sh *shapeV2) alike(refs []byte, symbols int) bool {
	over, beyond := below(symbols), uint64(0)
	w := refs
	for i := 0; len(w) >= 8 && i < shapeWords; i++ {
		v := binary.LittleEndian.Uint64(w)
		if (v^sh.want[i])&sh.fixed[i] != 0 {
			return false
		}
		beyond |= (v&^continued + over) & sh.top[i]
		w = w[8:]
	}
	return beyond == 0 || symbols >= 0x80 && sh.inside(refs, symbols)
}

// inside says whether the references of 2 bytes refer to one of the symbols.
func (sh *shapeV2) inside(refs []byte, symbols int) bool {
	for _, at := range sh.wide {
		if v := binary.LittleEndian.Uint16(refs[at:]); int(v&0x7f|v>>8<<7) >= symbols {
			return false
		}
	}
	return true
}

// learn takes the shape of these references, of which there is at least a pair, and the places that they have found.
func (sh *shapeV2) learn(refs []byte, symbols int, places []place, from int) {
	*sh = shapeV2{wide: sh.wide[:0], places: sh.places[:0]}
	value := false
	for p := 0; p < len(refs); value = !value {
		_, n := protowire.ConsumeVarint(refs[p:])
		if n > 2 || n == 2 && symbols < 0x80 {
			return // the latter is longer than it need be, and below tells nothing of it
		}
		if value && n > 1 {
			sh.wide = append(sh.wide, uint8(p))
		}
		for i, c := range refs[p : p+n] {
			at := 8 * (p % 8)
			sh.want[p/8] |= uint64(c) << at
			if value {
				sh.fixed[p/8] |= 0x80 << at
			} else {
				sh.fixed[p/8] |= 0xff << at
			}
			if symbols < 0x80 || value && i > 0 {
				sh.top[p/8] |= 0x80 << at
			}
			p++
		}
	}
	sh.size = len(refs)
	for _, p := range places {
		sh.places = append(sh.places, place{p.at - uint32(from), p.size})
	}
}

// shapeOf returns the shape for the references body[from:to], or nil if they are too many, and the references rounded up to
// words.
func (b *Batch) shapeOf(from, to int) (sh *shapeV2, refs []byte) {
	words := (to - from + 7) / 8
	if words == 0 || words > shapeWords || len(b.body)-from < 8*words {
		return nil, nil
	}
	return &b.shapes[uint(to-from)%shapes], b.body[from : from+8*words]
}

// runV2 reads series from body[p:] on whose labels are as those of others, with a single sample each. It returns where it
// stopped.
func (b *Batch) runV2(p int) int {
	if len(b.series) == 0 && !b.allSymbols {
		return b.runSymbols(p)
	}
	room, n := b.room(), 0
	for ; n < room; n++ {
		size, head := shortLength(b.body[p:], tagSeriesV2)
		from, to := p+head, p+head+size
		if head == 0 || to > len(b.body) {
			break
		}
		refs, head := shortLength(b.body[from:to], tagRefs)
		first, end := from+head, from+head+refs
		if end >= to {
			break
		}
		sh, words := b.shapeOf(first, end)
		if sh == nil || sh.size != refs || !sh.alike(words, len(b.symbols)) {
			break
		}
		bits, time, ok := usualSample(b.body[end:to])
		if next := end + usualSize; !ok || next < to && !b.metadataEnds(next, to) {
			break
		}
		had := len(b.places)
		s := b.nextSeries()
		for j, p := range sh.places {
			b.places[had+j] = place{p.at + uint32(first), p.size}
		}
		s.start, s.message, s.end, s.short = uint32(p), uint32(from), uint32(to), true
		s.labels = span{uint32(first), uint32(end)}
		s.counts[samples] = 1
		b.newestShort = max(b.newestShort, time)
		if bits == value.StaleNaN {
			b.addStale(len(b.series) - 1)
		}
		p = to
	}
	b.totals.Samples += n
	return p
}

// frontV2 reads the packed references body[from:to], and says whether their labels are valid and sorted.
func (b *Batch) frontV2(from, to int, places []place) (tidy bool, err error) {
	sh, refs := b.shapeOf(from, to)
	if sh != nil && sh.size == to-from && sh.alike(refs, len(b.symbols)) {
		for j, p := range sh.places {
			places[j] = place{p.at + uint32(from), p.size}
		}
		return true, nil
	}
	if tidy, err = b.frontUnlikeV2(from, to, places); tidy && sh != nil {
		sh.learn(b.body[from:to], len(b.symbols), places, from)
	}
	return tidy, err
}

// frontUnlikeV2 reads references that are not as in a shape.
func (b *Batch) frontUnlikeV2(from, to int, places []place) (tidy bool, err error) {
	t := tally{names: b.names, places: places}
	last := uint64(0) // key of the last name
	for p := from; p < to; {
		name, n, err := b.ref(b.body[p:to])
		if err != nil {
			return false, err
		}
		if p+n == to {
			return false, nil
		}
		_, m, err := b.ref(b.body[p+n : to])
		if err != nil {
			return false, err
		}
		text := b.symbol(uint32(name))
		if k := key(text); k > last && k < t.target() {
			t.last, last = text, k
		} else if !t.add(text, place{uint32(p), uint32(n + m)}) {
			return false, nil
		} else {
			last = k
		}
		p += n + m
	}
	t.end(to)
	return from < to, nil
}

// ref reads a reference and checks it.
func (b *Batch) ref(w []byte) (ref uint64, n int, err error) {
	if ref, n = protowire.ConsumeVarint(w); n < 0 {
		return 0, 0, protowire.ParseError(n)
	}
	return ref, n, checkRef(ref, uint64(len(b.symbols)))
}
