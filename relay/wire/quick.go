package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"
)

// Requests as Prometheus writes them are read here, in one go, without regard for any other way to write them. What does
// not fit is left to the general reader, from the start of the series.

// quick reads the series at body[p:] if it is written so, with references to symbols that came before it. It returns where
// it ends, or 0.
func (b *Batch) quick(p int) int {
	v1 := b.message == V1
	tag := byte(tagSeriesV2)
	if v1 {
		tag = tagSeriesV1
	}
	from, to, ok := quickField(b.body, p, tag)
	n, m := len(b.series), len(b.places)
	width := len(b.names.sorted)
	if !ok || n == maxItems {
		return 0
	}
	if n == cap(b.series) || m+width > cap(b.places) {
		b.series = slices.Grow(b.series, n+1)
		b.places = slices.Grow(b.places, (n+1)*width)
	}
	b.series, b.places = b.series[:n+1], b.places[:m+width]
	s, places := &b.series[n], b.places[m:m+width:m+width]
	s.start, s.message, s.end = uint32(p), uint32(from), uint32(to)
	s.counts = [3]uint32{1, 0, 0}
	s.unread, s.messy, s.invalid = false, false, false
	var pt point
	if v1 {
		pt, ok = b.quickV1(s, places)
	} else {
		pt, ok = b.quickV2(s, places)
	}
	if !ok {
		b.series, b.places = b.series[:n], b.places[:m]
		return 0
	}
	b.totals.Samples++
	b.newest = max(b.newest, pt.time)
	if pt.stale() {
		b.stale = append(b.stale, n)
	}
	return to
}

// quickField reads the place of a field with that tag whose length takes one or two bytes. It returns where the value is,
// and false if the field is anything else.
func quickField(body []byte, p int, tag byte) (from, to int, ok bool) {
	if len(body)-p < 3 || body[p] != tag {
		return 0, 0, false
	}
	size := int(body[p+1])
	from = p + 2
	if size >= 0x80 {
		high := int(body[p+2])
		if high >= 0x80 {
			return 0, 0, false
		}
		size = size&0x7f | high<<7
		from = p + 3
	}
	return from, from + size, from+size <= len(body)
}

// quickV1 reads a 1.0 series of short labels, sorted, and one sample.
func (b *Batch) quickV1(s *series, places []place) (pt point, ok bool) {
	body := b.body
	p, end := int(s.message), int(s.end)
	w := walk{target: math.MaxUint64}
	if len(places) == 1 {
		w.target = b.names.keys[0]
	}
	for {
		p = w.shortLabels(body, p, end)
		if p >= end || body[p] != tagLabel {
			break
		}
		// The first one not before what is looked for, or one that begins like the last label.
		name, size := shortLabel(body, p, end)
		if size == 0 || (w.at > 0 && bytes.Compare(body[w.at+4:w.at+4+int(body[w.at+3])], name) >= 0) {
			return pt, false
		}
		if w.target != math.MaxUint64 {
			c := bytes.Compare(name, []byte(b.names.sorted[0]))
			if c >= 0 {
				places[0] = place{at: uint32(p)}
				w.target = math.MaxUint64
			}
			if c == 0 {
				places[0].size = uint32(size)
			}
		}
		w.last, w.at = key(name), p
		p += size
	}
	if p >= end || w.at == 0 {
		return pt, false
	}
	pt, to := quickSample(body[:end], p)
	if to != end {
		return pt, false
	}
	s.labels = span{s.message, uint32(p)}
	switch {
	case w.target != math.MaxUint64:
		places[0] = place{uint32(p), 0}
	case len(places) > 1:
		b.findV1(s, places)
	}
	return pt, true
}

// findV1 notes the places of several names in a series of short labels.
func (b *Batch) findV1(s *series, places []place) {
	next, p := 0, int(s.labels.from)
	for p < int(s.labels.to) && next < len(places) {
		name, size := shortLabel(b.body, p, int(s.labels.to))
		if key(name) >= b.names.keys[next] {
			next = b.meet(places, next, name, place{uint32(p), uint32(size)})
		}
		p += size
	}
	for ; next < len(places); next++ {
		places[next] = place{s.labels.to, 0}
	}
}

// walk is a walk over the labels of a series.
type walk struct {
	last   uint64 // key of the name of the last label
	at     int    // where that is; 0: there was none yet
	target uint64 // key of the name that is looked for
}

// shortLabels reads labels as they are nearly always written, a name and a value of less than 128 bytes, in this order and
// in less than 128 bytes together, as long as their names sort by their keys, and before the target. It returns where it
// stopped, which may be beyond end.
func (w *walk) shortLabels(body []byte, p, end int) int {
	last, at, target := w.last, w.at, w.target
	// What is read of a label at p is within longestShort bytes, and so within body.
	for end = min(end, len(body)-longestShort+1); p < end; {
		l := (*[longestShort]byte)(unsafe.Pointer(&body[p])) // body[p:] would cost a third of the time
		head := binary.LittleEndian.Uint32(l[:])
		size, n := head>>8&0xff, head>>24
		k := binary.BigEndian.Uint64(l[4:]) & keyMasks[n&0x7f]
		if head&0x80ff80ff != tagLabel|tagName<<16 || uint32(binary.LittleEndian.Uint16(l[4+n&0x7f:])) != (size-4-n)<<8+tagValue || k <= last || k >= target {
			break
		}
		last, at = k, p
		p += 2 + int(size)
	}
	w.last, w.at = last, at
	return p
}

// longestShort is more than the bytes of a label that shortLabels looks at.
const longestShort = 144

// keyMasks are what is left of 8 bytes of which the first n belong to a name.
var keyMasks = func() (masks [128]uint64) {
	for n := range masks {
		masks[n] = ^(math.MaxUint64 >> (8 * n))
	}
	return masks
}()

// shortLabel reads a label as shortLabels does. It returns its name and size, 0 if it is written in another way.
func shortLabel(body []byte, p, end int) (name []byte, size int) {
	w := body[p:end]
	if len(w) < 4 || w[0] != tagLabel || w[1] >= 0x80 || w[2] != tagName || w[3] >= 0x80 {
		return nil, 0
	}
	size = 2 + int(w[1])
	n := 4 + int(w[3])
	if size > len(w) || n+2 > size || w[n] != tagValue || n+2+int(w[n+1]) != size {
		return nil, 0
	}
	return w[4:n], size
}

// quickSample reads a sample as shortSample does; at once, if it has a value and a time between 1971 and 2109.
func quickSample(msg []byte, p int) (point, int) {
	if len(msg)-p < 18 {
		return shortSample(msg, p)
	}
	w := msg[p : p+18 : p+18]
	t := binary.LittleEndian.Uint64(w[10:])
	if w[0] != tagSample || w[1] != 16 || w[2] != tagSampleValue || w[11] != tagSampleTime || t&(0x808080808080<<16) != 0x008080808080<<16 {
		return shortSample(msg, p)
	}
	t = t >> 16 & 0x7f7f7f7f7f7f
	t = t&0x007f007f007f | t&0x7f007f007f00>>1
	t = t&0x3fff | t>>16&0x3fff<<14 | t>>32<<28
	return point{binary.LittleEndian.Uint64(w[3:]), int64(t)}, p + 18
}

// meet notes what the label with that name, at p, tells of the names from next on. It returns the next one to look for.
func (b *Batch) meet(places []place, next int, name []byte, p place) int {
	for ; next < len(places); next++ {
		c := bytes.Compare(name, []byte(b.names.sorted[next]))
		if c < 0 {
			break
		}
		if c == 0 {
			places[next] = p
			return next + 1
		}
		places[next] = place{p.at, 0}
	}
	return next
}

// key returns the key of the name with that index, or one that no name has.
func (n *Names) key(i int) uint64 {
	if i < len(n.keys) {
		return n.keys[i]
	}
	return math.MaxUint64
}

// quickV2 reads a 2.0 series of packed references to sorted labels, one sample, and perhaps metadata.
func (b *Batch) quickV2(s *series, places []place) (pt point, ok bool) {
	body := b.body
	from, to, ok := quickField(body[:s.end], int(s.message), tagRefs)
	if !ok || from == to || len(b.symbols) == 0 {
		return pt, false
	}
	if pt, ok = b.restV2(s, to); !ok {
		return pt, false
	}
	s.labels = span{uint32(from), uint32(to)}
	if b.last.follow(body, s.labels, uint32(len(b.symbols)), places) {
		return pt, true
	}
	p, lastRef, next := from, uint32(0), 0
	for {
		p, lastRef = shortRefs(body, span{uint32(p), uint32(to)}, b.symbols, lastRef, b.names.key(next))
		if p >= to {
			break
		}
		// At one of names, or a name that begins like one or like the last one.
		name, value, end := shortRefPair(body[:to], p)
		if end == 0 || max(name, value) >= uint32(len(b.symbols)) || bytes.Compare(b.symbol(lastRef), b.symbol(name)) >= 0 {
			return pt, false
		}
		next = b.meet(places, next, b.symbol(name), place{uint32(p), uint32(end - p)})
		lastRef, p = name, end
	}
	for ; next < len(places); next++ {
		places[next] = place{uint32(to), 0}
	}
	b.last.remember(body, s.labels, places)
	return pt, p == to
}

// restV2 reads what comes after the labels of a 2.0 series: one sample, and perhaps metadata.
func (b *Batch) restV2(s *series, p int) (point, bool) {
	msg := b.body[:s.end]
	pt, end := quickSample(msg, p)
	return pt, end > 0 && b.quickMetadata(msg, end)
}

// shortRefs reads packed references to labels, of one or two bytes each, as long as their names sort after that of lastRef
// and before target by their keys. It returns where it stopped and the reference to the last name. It may stop beyond the
// end of packed.
func shortRefs(body []byte, packed span, symbols []symbol, lastRef uint32, target uint64) (int, uint32) {
	p, last := int(packed.from), symbols[lastRef].key
	// The 4 bytes of two references at p are within body.
	for end := min(int(packed.to), len(body)-3); p < end; {
		w := binary.LittleEndian.Uint32((*[4]byte)(unsafe.Pointer(&body[p]))[:])
		name, n := w&0x7f, 1
		if w&0x80 != 0 {
			name, n = w&0x7f|w>>1&0x3f80, 2
			w >>= 8
		}
		value := w >> 8 & 0x7f
		if w&0x8000 != 0 {
			value |= w >> 9 & 0x3f80
			n++
			w >>= 8
		}
		if n++; w&0x8000 != 0 || int(name) >= len(symbols) || int(value) >= len(symbols) {
			break // a long reference, or the second byte of the name says that there is a third
		}
		k := symbols[name].key
		if k <= last || k >= target {
			break
		}
		last, lastRef = k, name
		p += n
	}
	return p, lastRef
}

// shortRefPair reads the references to a label at the end of msg. It returns where they end, 0 if that is not in sight.
func shortRefPair(msg []byte, p int) (name, value uint32, end int) {
	x, n := binary.Uvarint(msg[p:])
	if n <= 0 {
		return 0, 0, 0
	}
	y, m := binary.Uvarint(msg[p+n:])
	if m <= 0 || max(x, y) > math.MaxUint32 {
		return 0, 0, 0
	}
	return uint32(x), uint32(y), p + n + m
}

// quickMetadata says whether msg[p:] is nothing, or metadata whose fields are each there at most once, in order.
func (b *Batch) quickMetadata(msg []byte, p int) bool {
	if p == len(msg) {
		return true
	}
	p, to, ok := quickField(msg, p, tagMetadataV2)
	if !ok || to != len(msg) {
		return false
	}
	if to-p >= 2 && msg[p] == 1<<3|ofVarint && msg[p+1] < 0x80 {
		p += 2
	}
	for _, tag := range [...]byte{3<<3 | ofVarint, 4<<3 | ofVarint} {
		if p == to || msg[p] != tag {
			continue
		}
		ref, n := binary.Uvarint(msg[p+1 : to])
		if n <= 0 || ref >= uint64(len(b.symbols)) {
			return false
		}
		p += 1 + n
	}
	return p == to
}
