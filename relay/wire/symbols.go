package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

func (b *Batch) addSymbol(f field) error {
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	if len(b.symbols) == maxItems {
		return fmt.Errorf("%w: more than %d symbols", ErrTooMany, maxItems)
	}
	b.symbols = append(b.symbols, span{uint32(f.value), uint32(f.end)})
	b.symbolsEnd = uint32(f.end)
	return nil
}

// runSymbols reads symbols from body[p:] on, and returns where it stopped.
func (b *Batch) runSymbols(p int) int {
	start := p
	for len(b.symbols) < maxItems {
		size, head := shortLength(b.body[p:], tagSymbol)
		from, to := p+head, p+head+size
		if head == 0 || to > len(b.body) {
			break
		}
		b.symbols = append(b.symbols, span{uint32(from), uint32(to)})
		p = to
	}
	if p > start {
		b.symbolsEnd = uint32(p)
		b.addOther(start, p)
	}
	return p
}

// symbol returns the string that a checked reference refers to.
func (b *Batch) symbol(ref uint32) []byte {
	s := b.symbols[ref]
	return b.body[s.from:s.to]
}

// appendRefs appends packed references that were checked.
func appendRefs(dst []uint32, packed []byte) []uint32 {
	for len(packed) > 0 {
		v, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			break
		}
		dst = append(dst, uint32(v))
		packed = packed[n:]
	}
	return dst
}

// checkSymbols checks what can be said of the symbols as a whole.
func (b *Batch) checkSymbols() error {
	if len(b.series) == 0 && len(b.symbols) == 0 {
		return nil
	}
	if len(b.symbols) == 0 || len(b.symbol(0)) > 0 {
		return errNoEmptySymbol
	}
	longest := 0
	for _, s := range b.symbols {
		longest = max(longest, int(s.to-s.from))
	}
	if longest > maxString {
		return fmt.Errorf("%w: a symbol of %d bytes", ErrTooMany, longest)
	}
	if uint64(len(b.body))*uint64(longest) <= maxWritten { // a reference takes at least a byte
		return nil
	}
	return b.checkWritten()
}

// checkWritten returns an error when the strings that the series refer to are more than maxWritten, each counted as
// often as it is referred to. What is malformed is left to others.
func (b *Batch) checkWritten() error {
	total := uint64(0)
	add := func(ref uint64) {
		if ref < uint64(len(b.symbols)) {
			total += uint64(len(b.symbol(uint32(ref))))
		}
	}
	eachField(b.body, 0, func(f field) {
		if f.number != 5 || f.typ != protowire.BytesType || total > maxWritten {
			return
		}
		eachField(b.body[:f.end], f.value, func(f field) {
			switch f.number {
			case 1:
				eachRef(b.body, f, add)
			case 4:
				b.eachRefOf(f, 1, 1, add)
			case 5:
				b.eachRefOf(f, 3, 4, add)
			}
		})
	})
	if total > maxWritten {
		return fmt.Errorf("%w: labels of more than %d bytes", ErrTooMany, maxWritten)
	}
	return nil
}

// eachRefOf calls visit with the references in the fields from..to of a message.
func (b *Batch) eachRefOf(f field, from, to protowire.Number, visit func(uint64)) {
	if f.typ != protowire.BytesType {
		return
	}
	eachField(b.body[:f.end], f.value, func(f field) {
		if f.number >= from && f.number <= to {
			eachRef(b.body, f, visit)
		}
	})
}

// eachRef calls visit with the references in a field, packed or not.
func eachRef(msg []byte, f field, visit func(uint64)) {
	switch f.typ {
	case protowire.VarintType:
		visit(f.varint)
	case protowire.BytesType:
		for p := f.value; p < f.end; {
			v, n := protowire.ConsumeVarint(msg[p:f.end])
			if n < 0 {
				return
			}
			visit(v)
			p += n
		}
	}
}
