package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// kind is what a message has at a field number.
type kind uint8

const (
	unknown kind = iota // anything
	varint
	fixed64
	text
	varints  // repeated, packed or not
	fixed64s // repeated, packed or not
	ref      // a varint that is the index of a symbol
	refs     // repeated, packed or not; an even number of them
	message  // described by the layout in rule.of
)

// rule is what a field must be.
type rule struct {
	kind kind
	of   *layout
}

// layout describes a message: the rule of each field by its number. Numbers beyond are unknown to it.
type layout struct {
	fields []rule
	value  protowire.Number // the fixed64 that is a point's value, or 0
	time   protowire.Number // the varint that is a point's time, or 0
}

// The messages inside of a series, as in prompb/types.proto and prompb/io/prometheus/write/v2/types.proto of Prometheus.
var (
	layoutLabel      = &layout{fields: []rule{1: {kind: text}, 2: {kind: text}}}
	layoutSpan       = &layout{fields: []rule{1: {kind: varint}, 2: {kind: varint}}}
	layoutSampleV1   = &layout{fields: []rule{1: {kind: fixed64}, 2: {kind: varint}}, value: 1, time: 2}
	layoutSampleV2   = &layout{fields: []rule{1: {kind: fixed64}, 2: {kind: varint}, 3: {kind: varint}}, value: 1, time: 2}
	layoutExemplarV1 = &layout{fields: []rule{1: {message, layoutLabel}, 2: {kind: fixed64}, 3: {kind: varint}}}
	layoutExemplarV2 = &layout{fields: []rule{1: {kind: refs}, 2: {kind: fixed64}, 3: {kind: varint}}}
	layoutMetadataV1 = &layout{fields: []rule{1: {kind: varint}, 2: {kind: text}, 4: {kind: text}, 5: {kind: text}}}
	layoutMetadataV2 = &layout{fields: []rule{1: {kind: varint}, 3: {kind: ref}, 4: {kind: ref}}}
	layoutHistogram  = layoutHistogramV1(rule{})
	layoutStarted    = layoutHistogramV1(rule{kind: varint}) // with a start timestamp: 2.0
)

func layoutHistogramV1(start rule) *layout {
	return &layout{
		fields: []rule{
			1: {kind: varint}, 2: {kind: fixed64}, 3: {kind: fixed64}, 4: {kind: varint}, 5: {kind: fixed64}, 6: {kind: varint}, 7: {kind: fixed64},
			8: {message, layoutSpan}, 9: {kind: varints}, 10: {kind: fixed64s}, 11: {message, layoutSpan}, 12: {kind: varints}, 13: {kind: fixed64s},
			14: {kind: varint}, 15: {kind: varint}, 16: {kind: fixed64s}, 17: start,
		},
		value: 3, time: 15,
	}
}

var (
	errOddRefs = errors.New("an odd number of label references")
	errPacked  = errors.New("packed values with a rest")
)

// check returns an error unless msg[p:] is well formed and its fields are as the layout has them. References must be
// less than symbols. It returns the value and time that the layout speaks of.
func (l *layout) check(msg []byte, p int, symbols uint64) (point, error) {
	var pt point
	count := 0 // of references
	for p < len(msg) {
		f, err := readField(msg, p)
		if err != nil {
			return pt, err
		}
		p = f.end
		if int(f.number) >= len(l.fields) {
			continue
		}
		n, err := l.fields[f.number].check(msg, f, symbols)
		if err != nil {
			return pt, fmt.Errorf("field %d: %w", f.number, err)
		}
		count += n
		switch f.number {
		case l.value:
			pt.bits = f.fixed64(msg)
		case l.time:
			pt.time = int64(f.varint)
		}
	}
	if count%2 != 0 {
		return pt, errOddRefs
	}
	return pt, nil
}

// check returns an error unless f is as the rule has it, and the number of label references in it.
func (r rule) check(msg []byte, f field, symbols uint64) (int, error) {
	switch r.kind {
	case unknown:
		return 0, nil
	case varint:
		return 0, f.expect(protowire.VarintType)
	case fixed64:
		return 0, f.expect(protowire.Fixed64Type)
	case text:
		return 0, f.expect(protowire.BytesType)
	case ref:
		if err := f.expect(protowire.VarintType); err != nil {
			return 0, err
		}
		return 0, checkRef(f.varint, symbols)
	case message:
		if err := f.expect(protowire.BytesType); err != nil {
			return 0, err
		}
		_, err := r.of.check(msg[:f.end], f.value, symbols)
		return 0, err
	}
	return r.checkRepeated(msg, f, symbols)
}

func (r rule) checkRepeated(msg []byte, f field, symbols uint64) (int, error) {
	single := protowire.VarintType
	if r.kind == fixed64s {
		single = protowire.Fixed64Type
	}
	switch {
	case f.typ == single && r.kind == refs:
		return 1, checkRef(f.varint, symbols)
	case f.typ == single:
		return 0, nil
	case f.typ != protowire.BytesType:
		return 0, f.expect(protowire.BytesType)
	case r.kind == fixed64s && (f.end-f.value)%8 != 0:
		return 0, errPacked
	case r.kind == fixed64s:
		return 0, nil
	}
	count := 0
	for p := f.value; p < f.end; {
		v, n := protowire.ConsumeVarint(msg[p:f.end])
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		p += n
		if r.kind == refs {
			count++
			if err := checkRef(v, symbols); err != nil {
				return 0, err
			}
		}
	}
	return count, nil
}

func checkRef(ref, symbols uint64) error {
	if ref >= symbols {
		return fmt.Errorf("reference %d is outside of the %d symbols", ref, symbols)
	}
	return nil
}
