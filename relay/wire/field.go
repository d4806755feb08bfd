package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tags as they are nearly always written: in one byte.
const (
	tagSeriesV1   = 1<<3 | ofBytes
	tagMetadataV1 = 3<<3 | ofBytes
	tagSymbol     = 4<<3 | ofBytes
	tagSeriesV2   = 5<<3 | ofBytes

	tagLabel       = 1<<3 | ofBytes // of a 1.0 series
	tagName        = 1<<3 | ofBytes
	tagValue       = 2<<3 | ofBytes
	tagRefs        = 1<<3 | ofBytes // of a 2.0 series
	tagSample      = 2<<3 | ofBytes // of both
	tagSampleValue = 1<<3 | ofFixed64
	tagSampleTime  = 2<<3 | ofVarint
	tagMetadataV2  = 5<<3 | ofBytes

	tagMetadataType = 1<<3 | ofVarint // of a 2.0 series
	tagMetadataHelp = 3<<3 | ofVarint
	tagMetadataUnit = 4<<3 | ofVarint
)

// Wire types without a type of their own.
const (
	ofVarint  = 0
	ofFixed64 = 1
	ofBytes   = 2
)

// field is one field of a message: msg[start:end], its value msg[value:end].
type field struct {
	number            protowire.Number
	typ               protowire.Type
	start, value, end int
	varint            uint64 // if typ is VarintType
}

var errNumber = errors.New("field number out of range")

// readField reads the field at msg[p:].
func readField(msg []byte, p int) (field, error) {
	number, typ, n := protowire.ConsumeTag(msg[p:])
	if n < 0 {
		return field{}, protowire.ParseError(n)
	}
	if number > protowire.MaxValidNumber {
		return field{}, errNumber
	}
	f := field{number: number, typ: typ, start: p, value: p + n}
	var err error
	f.varint, f.value, f.end, err = readValue(msg, f)
	return f, err
}

// readValue reads the value of a field whose tag was read. It returns where the value starts, a length not being part of
// it, and ends.
func readValue(msg []byte, f field) (varint uint64, from, to int, err error) {
	rest := msg[f.value:]
	var n int
	from = f.value
	switch f.typ {
	case protowire.VarintType:
		varint, n = protowire.ConsumeVarint(rest)
	case protowire.BytesType:
		var v []byte
		v, n = protowire.ConsumeBytes(rest)
		from += n - len(v)
	default:
		n = protowire.ConsumeFieldValue(f.number, f.typ, rest)
	}
	if n < 0 {
		return 0, 0, 0, protowire.ParseError(n)
	}
	return varint, from, f.value + n, nil
}

// expect returns an error unless the field is of that type.
func (f field) expect(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("field %d has wire type %d, not %d", f.number, f.typ, typ)
	}
	return nil
}

// fixed64 is the value of a field of that type.
func (f field) fixed64(msg []byte) uint64 { return binary.LittleEndian.Uint64(msg[f.value:f.end]) }

// eachField calls visit with the fields of msg[p:], which is known to be well formed.
func eachField(msg []byte, p int, visit func(field)) {
	for p < len(msg) {
		f, err := readField(msg, p)
		if err != nil {
			return
		}
		visit(f)
		p = f.end
	}
}
