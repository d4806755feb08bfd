package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/prometheus/prometheus/model/value"
)

// shapeV1 is what the first labels of the last 1.0 series looked like. Series next to each other mostly have the same label
// names, and then it takes a comparison of a few bytes for each to know that they are sorted, and where the labels of
// interest are.
type shapeV1 struct {
	labels [32]shortLabel
	n      int          // of labels
	whole  bool         // the series had no more
	places []shapePlace // of the first names, as far as they are among the labels
}

// shapePlace is where a label of interest is: it is the label of that index, or would be in front of it.
type shapePlace struct {
	index int
	there bool
}

// shortLabel is a label as it is nearly always written: first its name, and everything in less than 128 bytes.
type shortLabel struct {
	head, headMask uint64 // its first 8 bytes; those that are tags, length of the name, and name
	name, nameMask uint64 // its next 8 bytes; those that are name
	tail           uint64 // the 8 bytes up to the first one of the value, from at on
	at             uint8
	size           uint8 // of the field
	long           bool  // head and tail are not all of the name
}

const (
	shortName = 12  // bytes of a name that a shortLabel has
	shortRoom = 264 // bytes that must follow the start of a label that is compared with a shortLabel
)

// read takes the label at w, which must have shortRoom bytes, if it is short, and returns the length of its name.
func (l *shortLabel) read(w []byte) (name int, ok bool) {
	l.head = binary.LittleEndian.Uint64(w)
	size, n := int(l.head>>8&0x7f), int(l.head>>24&0x7f)
	value := int(binary.LittleEndian.Uint16(w[4+n:]))
	if n < 2 || l.head&0x80ff80ff != tagLabel|tagName<<16 || value != (size-4-n)<<8+tagValue {
		return 0, false
	}
	l.at, l.size, l.long = uint8(n-2), uint8(2+size), n > 10
	l.tail, l.name = binary.LittleEndian.Uint64(w[n-2:]), binary.LittleEndian.Uint64(w[8:])
	l.headMask, l.nameMask = 0xffffffffffff00ff, ^uint64(0)
	if n < 4 {
		l.headMask = 1<<(32+8*n) - 1 - 0xff00
	}
	if n < shortName {
		l.nameMask = 1<<(8*max(0, n-4)) - 1
	}
	return n, true
}

// alike reads labels as long as they have the names that these have, and follows their values. It returns how many did, and
// the rest of w. It ends in the last shortRoom bytes, or where no more than stop are left, or a few bytes further.
func alike(w []byte, stop int, list []shortLabel) (int, []byte) {
	stop = max(stop, shortRoom)
	for i := range list {
		if len(w) <= stop || len(w) < shortRoom {
			return i, w
		}
		l := &list[i]
		head, tail := binary.LittleEndian.Uint64(w), binary.LittleEndian.Uint64(w[l.at:])
		if head == l.head && tail == l.tail && (!l.long || binary.LittleEndian.Uint64(w[8:]) == l.name) {
			w = w[l.size:]
			continue
		}
		// The value has another length.
		size := head >> 8 & 0xff
		if (head^l.head)&l.headMask != 0 || (binary.LittleEndian.Uint64(w[8:])^l.name)&l.nameMask != 0 ||
			size >= 0x80 || tail>>48 != (size-6-uint64(l.at))<<8+tagValue {
			return i, w
		}
		l.head, l.tail, l.size = head, tail, uint8(size+2)
		w = w[l.size:]
	}
	return len(list), w
}

// follow reads the labels of the series body[from:to] as long as they are as in the shape, and notes the places of the
// names that it has. It returns how many labels there are, and where they end, which may be beyond the series.
func (sh *shapeV1) follow(body []byte, from, to int, places []place) (labels, end int) {
	labels, rest := alike(body[from:], len(body)-to, sh.labels[:sh.n])
	end = len(body) - len(rest)
	i, at := labels, uint32(end)
	for j := len(sh.places) - 1; j >= 0; j-- {
		pl := &sh.places[j]
		for ; i > pl.index; i-- {
			at -= uint32(sh.labels[i-1].size)
		}
		places[j] = place{at, 0}
		if pl.there {
			places[j].size = uint32(sh.labels[pl.index].size)
		}
	}
	return labels, end
}

// runV1 reads series from body[p:] on that are as the one before in all but values, with a single sample each. It returns
// where it stopped.
func (b *Batch) runV1(p int) int {
	sh, names := &b.shape, b.names.len()
	if !sh.whole {
		return p
	}
	room, n := b.room(), 0
	for ; n < room; n++ {
		size, head := shortLength(b.body[p:], tagSeriesV1)
		from, to := p+head, p+head+size
		if head == 0 || to > len(b.body) {
			break
		}
		had := len(b.places)
		labels, end := sh.follow(b.body, from, to, b.places[had:had+names])
		if labels < sh.n || end >= to {
			break
		}
		bits, time, ok := usualSample(b.body[end:to])
		if !ok || end+usualSize != to {
			break
		}
		s := b.nextSeries()
		s.start, s.message, s.end, s.short = uint32(p), uint32(from), uint32(to), true
		s.labels = span{uint32(from), uint32(end)}
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

// frontV1 reads the labels in front of a series, and returns where they end and whether they are valid and sorted.
func (b *Batch) frontV1(s *series, places []place) (end int, tidy bool, err error) {
	sh := &b.shape
	labels, p := sh.follow(b.body, int(s.message), int(s.end), places)
	if p > int(s.end) {
		return 0, false, io.ErrUnexpectedEOF
	}
	if sh.whole && labels == sh.n && (p == int(s.end) || b.body[p] != tagLabel) {
		return p, true, nil
	}
	return b.frontUnlike(s, places, p, labels)
}

// frontUnlike reads on from body[p:], where the label of index i is not as in the shape, and gives the shape what it finds.
func (b *Batch) frontUnlike(s *series, places []place, p, i int) (end int, tidy bool, err error) {
	sh, msg := &b.shape, b.body[:s.end]
	t := tally{names: b.names, places: places}
	for t.next < len(sh.places) && sh.places[t.next].index < i {
		t.next++
	}
	sh.n, sh.whole, sh.places = i, false, sh.places[:t.next]
	if i > 0 {
		at := p - int(sh.labels[i-1].size)
		t.last = msg[at+4 : at+4+int(msg[at+3])]
	}
	last := key(t.last)
	learning := true
	for ; p < len(msg) && msg[p] == tagLabel; i++ {
		from, to, next := 0, 0, 0
		var short shortLabel
		n, ok := 0, false
		if len(b.body)-p >= shortRoom {
			n, ok = short.read(b.body[p:])
		}
		if from, to, next = p+4, p+4+n, p+int(short.size); !ok || next > len(msg) {
			ok = false
			if from, to, next, err = longLabel(msg, p); err != nil {
				return 0, false, err
			}
		}
		name := msg[from:to]
		k, had := key(name), t.next
		if k > last && k < t.target() {
			t.last = name
		} else if !t.add(name, place{uint32(p), uint32(next - p)}) {
			sh.cut(0)
			return 0, false, nil
		}
		learning = learning && ok && i < len(sh.labels)
		switch {
		case learning && k == last && i > 0: // only the whole names say which is first
			sh.cut(i - 1)
			learning = false
		case learning && n > shortName && slices.Contains(b.names.keys[had:min(t.next+1, len(b.names.keys))], k):
			learning = false // one of names begins like it, further than a shortLabel can tell
		case learning:
			sh.labels[i], sh.n = short, i+1
			for ; had < t.next; had++ {
				sh.places = append(sh.places, shapePlace{i, places[had].size > 0})
			}
		}
		last, p = k, next
	}
	if sh.whole = learning && i > 0; sh.whole {
		for range places[t.next:] {
			sh.places = append(sh.places, shapePlace{i, false})
		}
	}
	t.end(p)
	return p, i > 0, nil
}

// cut leaves n labels of the shape.
func (sh *shapeV1) cut(n int) {
	sh.n, sh.whole = n, false
	for len(sh.places) > 0 && sh.places[len(sh.places)-1].index >= n {
		sh.places = sh.places[:len(sh.places)-1]
	}
}

// longLabel reads a label in full: where its name is, and where it ends.
func longLabel(msg []byte, p int) (from, to, end int, err error) {
	f, err := readField(msg, p)
	if err != nil {
		return 0, 0, 0, err
	}
	if f.end-f.start > maxString {
		return 0, 0, 0, fmt.Errorf("%w: a label of %d bytes", ErrTooMany, f.end-f.start)
	}
	if _, err := layoutLabel.check(msg[:f.end], f.value, 0); err != nil {
		return 0, 0, 0, err
	}
	eachField(msg[:f.end], f.value, func(f field) {
		if f.number == 1 {
			from, to = f.value, f.end
		}
	})
	return from, to, f.end, nil
}
