package relay

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a protobuf message. Of its values, the one that typ
// calls for is set; a fixed32 and a group have none.
type field struct {
	number  protowire.Number
	typ     protowire.Type
	varint  uint64
	fixed64 uint64
	bytes   []byte // part of the message; never nil when typ is BytesType
}

// expect returns an error unless the field is of that type.
func (f field) expect(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("field %d has wire type %d, not %d", f.number, f.typ, typ)
	}
	return nil
}

// eachField calls visit with the fields of a message in their order, until one
// returns an error.
func eachField(msg []byte, visit func(field) error) error {
	for len(msg) > 0 {
		number, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]

		f := field{number: number, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(msg)
		case protowire.Fixed64Type:
			f.fixed64, n = protowire.ConsumeFixed64(msg)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(msg)
		default:
			n = protowire.ConsumeFieldValue(number, typ, msg)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}
