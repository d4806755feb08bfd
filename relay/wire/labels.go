package wire

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// label is a label of a series, or one that is added to it.
type label struct {
	name, value []byte
	raw         []byte    // its field of a 1.0 series, with any unknown fields in it
	refs        [2]uint32 // of its name and value in a 2.0 request; zeros if it is not from there
}

// placesOf returns the part of places that a series has.
func (b *Batch) placesOf(i int) []place {
	n := b.names.len()
	return b.places[i*n : (i+1)*n : (i+1)*n]
}

// messy checks a whole series whose labels are not sorted, not together in front, or no valid set. The places of its
// labels say only whether they are there.
func (b *Batch) messy(i int) error {
	s := &b.series[i]
	b.uncount(i)
	s.messy = true
	if err := b.checkMessy(i); err != nil {
		return err
	}
	b.scratch = b.collect(b.scratch[:0], i)
	t := tally{names: b.names, places: b.placesOf(i)}
	for _, l := range b.scratch {
		if len(l.name) == 0 {
			b.refuse(i, reasonEmptyName)
			break
		}
		if !t.add(l.name, place{0, 1}) {
			b.refuse(i, reasonTwice)
			break
		}
	}
	t.end(0)
	if len(b.scratch) == 0 {
		b.refuse(i, reasonNoLabels)
	}
	return nil
}

// uncount takes back what the attempt to read a series as a tidy one has counted.
func (b *Batch) uncount(i int) {
	s := &b.series[i]
	b.totals.Samples -= int(s.counts[samples])
	b.totals.Histograms -= int(s.counts[histograms])
	b.totals.Exemplars -= int(s.counts[exemplars])
	s.counts = [3]uint32{}
}

func (b *Batch) refuse(i int, reason string) {
	b.series[i].invalid = true
	b.invalid = append(b.invalid, Invalid{i, reason})
}

// checkMessy checks every field of a series and counts its parts.
func (b *Batch) checkMessy(i int) error {
	s := &b.series[i]
	msg := b.body[:s.end]
	known, ofLabels := &partsV1, rule{message, layoutLabel}
	if b.message == V2 {
		known, ofLabels = &partsV2, rule{kind: refs}
	}
	labels, count := 0, 0
	for p := int(s.message); p < len(msg); {
		f, err := readField(msg, p)
		if err != nil {
			return err
		}
		p = f.end
		if f.number != 1 {
			if err := b.part(i, known, f); err != nil {
				return err
			}
			continue
		}
		n, err := ofLabels.check(msg, f, uint64(len(b.symbols)))
		if err != nil {
			return fmt.Errorf("label: %w", err)
		}
		if f.end-f.start > maxString && b.message == V1 {
			return fmt.Errorf("%w: a label of %d bytes", ErrTooMany, f.end-f.start)
		}
		labels++
		count += n
	}
	if count%2 != 0 {
		return errOddRefs
	}
	if labels+count/2 > maxItems {
		return fmt.Errorf("%w: more than %d labels", ErrTooMany, maxItems)
	}
	return nil
}

// collect appends the labels of a series, sorted by name.
func (b *Batch) collect(dst []label, i int) []label {
	s, from := &b.series[i], len(dst)
	if s.messy {
		dst = b.collectMessy(dst, s)
		slices.SortStableFunc(dst[from:], func(x, y label) int { return bytes.Compare(x.name, y.name) })
		return dst
	}
	for p := int(s.labels.from); p < int(s.labels.to); {
		var l label
		l, p = b.label(p, int(s.labels.to))
		dst = append(dst, l)
	}
	return dst
}

// collectMessy appends the labels of a series as they come.
func (b *Batch) collectMessy(dst []label, s *series) []label {
	var refs []uint32
	eachField(b.body[:s.end], int(s.message), func(f field) {
		switch {
		case f.number != 1:
		case b.message == V1:
			dst = append(dst, labelOf(b.body, f))
		case f.typ == protowire.VarintType:
			refs = append(refs, uint32(f.varint))
		default:
			refs = appendRefs(refs, b.body[f.value:f.end])
		}
	})
	for ; len(refs) >= 2; refs = refs[2:] {
		dst = append(dst, b.labelOfRefs(refs[0], refs[1]))
	}
	return dst
}

// label returns the label at body[p:to], which was checked, and where it ends.
func (b *Batch) label(p, to int) (label, int) {
	if b.message == V2 {
		name, n := protowire.ConsumeVarint(b.body[p:to])
		value, m := protowire.ConsumeVarint(b.body[p+n : to])
		return b.labelOfRefs(uint32(name), uint32(value)), p + n + m
	}
	if l, ok := shortLabelOf(b.body[p:to]); ok {
		return l, p + len(l.raw)
	}
	f, _ := readField(b.body[:to], p)
	return labelOf(b.body, f), f.end
}

// shortLabelOf reads a label that was checked, if it is written as nearly all are.
func shortLabelOf(w []byte) (l label, ok bool) {
	if len(w) < 4 || w[1]|w[3] >= 0x80 || w[2] != tagName {
		return l, false
	}
	size, n := 2+int(w[1]), 4+int(w[3])
	if size < n+2 || len(w) < size || w[n] != tagValue || int(w[n+1]) != size-n-2 {
		return l, false
	}
	return label{name: w[4:n], value: w[n+2 : size], raw: w[:size]}, true
}

func (b *Batch) labelOfRefs(name, value uint32) label {
	return label{name: b.symbol(name), value: b.symbol(value), refs: [2]uint32{name, value}}
}

// labelOf reads a field that is a prometheus.Label.
func labelOf(msg []byte, f field) label {
	l := label{raw: msg[f.start:f.end]}
	eachField(msg[:f.end], f.value, func(f field) {
		switch f.number {
		case 1:
			l.name = msg[f.value:f.end]
		case 2:
			l.value = msg[f.value:f.end]
		}
	})
	return l
}
