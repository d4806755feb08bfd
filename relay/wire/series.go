package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/prometheus/model/value"
)

// seriesV1 checks one prometheus.TimeSeries and finds the labels of interest.
func (b *Batch) seriesV1(i int) error {
	s := &b.series[i]
	p, tidy, err := b.frontV1(s, b.placesOf(i))
	if err != nil {
		return fmt.Errorf("label: %w", err)
	}
	if tidy {
		s.labels = span{s.message, uint32(p)}
		tidy, err = b.parts(i, p, &partsV1)
	}
	if err == nil && !tidy {
		err = b.messy(i)
	}
	return err
}

// seriesV2 checks one io.prometheus.write.v2.TimeSeries and finds the labels of interest.
func (b *Batch) seriesV2(i int) error {
	if i == 0 && !b.allSymbols {
		if err := b.checkSymbols(); err != nil {
			return err
		}
	}
	s := &b.series[i]
	from, to := shortField(b.body[:s.end], int(s.message), tagRefs)
	if to == 0 {
		return b.messy(i)
	}
	s.labels = span{uint32(from), uint32(to)}
	tidy, err := b.frontV2(from, to, b.placesOf(i))
	if err != nil {
		return fmt.Errorf("label: %w", err)
	}
	if tidy {
		tidy, err = b.parts(i, to, &partsV2)
	}
	if err == nil && !tidy {
		err = b.messy(i)
	}
	return err
}

// shortField reads a field with that tag, whose length is written in at most 3 bytes: where its value starts and ends. It
// returns zeros if the field is anything else.
func shortField(msg []byte, p int, tag byte) (from, to int) {
	w := msg[p:]
	if len(w) < 4 || w[0] != tag {
		return 0, 0
	}
	size := int(w[1])
	from = p + 2
	if size >= 0x80 {
		size = size&0x7f | int(w[2])<<7
		from++
		if size >= 0x80<<7 {
			size = size&0x3fff | int(w[3])<<14
			from++
			if size >= 0x80<<14 {
				return 0, 0
			}
		}
	}
	if size > len(msg)-from {
		return 0, 0
	}
	return from, from + size
}

// parts checks and counts the fields of a series from body[p:] on, and says whether none of them is of its labels.
func (b *Batch) parts(i, p int, known *parts) (tidy bool, err error) {
	msg := b.body[:b.series[i].end]
	for p < len(msg) {
		if bits, time, next := shortSample(msg, p); next > 0 {
			b.countShort(i, bits, time)
			p = next
			continue
		}
		if known == &partsV2 {
			if next := b.shortMetadata(msg, p); next > 0 {
				p = next
				continue
			}
		}
		f, err := readField(msg, p)
		if err != nil {
			return false, err
		}
		if f.number == 1 {
			return false, nil
		}
		if err := b.part(i, known, f); err != nil {
			return false, err
		}
		p = f.end
	}
	return true, nil
}

// countShort counts a sample as shortSample reads it.
func (b *Batch) countShort(i int, bits, time uint64) {
	b.series[i].counts[samples]++
	b.totals.Samples++
	b.newestShort = max(b.newestShort, time)
	if bits == value.StaleNaN {
		b.addStale(i)
	}
}

// shortSample reads a sample as it is nearly always written: value and time, or the time alone. It returns the bits of the
// value, the varint of the time as it is, and where the sample ends, or 0 if the field is anything else. Such varints
// compare as the times do.
func shortSample(msg []byte, p int) (bits, time uint64, end int) {
	w := msg[p:]
	if len(w) < 4 || w[0] != tagSample || w[1] >= 0x80 || int(w[1]) > len(w)-2 || w[1] < 2 {
		return 0, 0, 0
	}
	end = p + 2 + int(w[1])
	w = w[2 : 2+w[1]]
	if w[0] == tagSampleValue && len(w) > 10 {
		bits = binary.LittleEndian.Uint64(w[1:])
		w = w[9:]
	}
	n := len(w) - 1 // bytes of the time
	if w[0] != tagSampleTime || n > 8 || end < 8 {
		return 0, 0, 0
	}
	// The last n bytes here must be a single varint, and no longer than it need be.
	time = binary.LittleEndian.Uint64(msg[end-8:]) >> (64 - 8*n)
	if time&continued != continued>>(64-8*n)&^(0x80<<(8*n-8)) || time>>(8*n-8) == 0 && n > 1 {
		return 0, 0, 0
	}
	return bits, time, end
}

// usualSize is the size of the samples that usualSample reads.
const usualSize = 18

// usualSample is shortSample for those that have a value and a time between 1971 and 2109.
func usualSample(w []byte) (bits, time uint64, ok bool) {
	if len(w) < usualSize {
		return 0, 0, false
	}
	head, rest := binary.LittleEndian.Uint32(w), binary.LittleEndian.Uint64(w[10:])
	ok = head&0xffffff == tagSample|16<<8|tagSampleValue<<16 && rest&0x8080808080_80ff00 == 0x0080808080_801000 && rest>>56 != 0
	return binary.LittleEndian.Uint64(w[3:]), rest >> 16, ok
}

// shortLength reads the tag and the length of a field, if they are that tag and a length of one or two bytes. It returns the
// length, and how many bytes it has read, or 0.
func shortLength(w []byte, tag byte) (length, n int) {
	if len(w) < 3 || w[0] != tag {
		return 0, 0
	}
	if w[1] < 0x80 {
		return int(w[1]), 2
	}
	if w[2] < 0x80 {
		return int(w[1]&0x7f) | int(w[2])<<7, 3
	}
	return 0, 0
}

// continued are the bits of 8 bytes that say that a varint goes on.
const continued uint64 = 0x8080808080808080

// packed puts the lower 7 bits of 8 bytes side by side: it reads a varint.
func packed(v uint64) uint64 {
	v = v&0x007f007f007f007f | v&0x7f007f007f007f00>>1
	v = v&0x00003fff00003fff | v&0x3fff00003fff0000>>2
	return v&0x0fffffff | v>>32&0x0fffffff<<28
}

// metadataEnds says whether body[p:to] is metadata of a 2.0 series. Series side by side mostly have the same.
func (b *Batch) metadataEnds(p, to int) bool {
	if to-p <= 8 && to >= 8 && to-p >= 2 && b.body[p] == tagMetadataV2 && int(b.body[p+1]) == to-p-2 {
		text := binary.LittleEndian.Uint64(b.body[to-8:]) >> (8 * (8 - uint(to-p)))
		if text == b.lastMetadata {
			return true
		}
		if b.shortMetadata(b.body[:to], p) != to {
			return false
		}
		b.lastMetadata = text
		return true
	}
	return b.shortMetadata(b.body[:to], p) == to
}

// shortMetadata checks the metadata of a 2.0 series as it is nearly always written. It returns where it ends, or 0 if the
// field is anything else.
func (b *Batch) shortMetadata(msg []byte, p int) int {
	if len(msg)-p < 2 || msg[p] != tagMetadataV2 || msg[p+1] >= 0x80 || len(msg)-p-2 < int(msg[p+1]) {
		return 0
	}
	w := msg[p+2 : p+2+int(msg[p+1])]
	for len(w) >= 2 {
		v, n := uint32(w[1]), 2
		for shift := 7; v>>shift != 0; shift += 7 {
			if n == len(w) || n == 4 {
				return 0
			}
			v = v&(1<<shift-1) | uint32(w[n])<<shift
			n++
		}
		if w[0] != tagMetadataType && (w[0] != tagMetadataHelp && w[0] != tagMetadataUnit || v >= uint32(len(b.symbols))) {
			return 0
		}
		w = w[n:]
	}
	if len(w) > 0 {
		return 0
	}
	return p + 2 + int(msg[p+1])
}
