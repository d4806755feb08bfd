package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
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

// frontV1 reads the labels in front of a series, and returns where they end and whether they are valid and sorted.
func (b *Batch) frontV1(s *series, places []place) (end int, tidy bool, err error) {
	msg := b.body[:s.end]
	t := tally{names: b.names, places: places}
	p := int(s.message)
	for p < len(msg) && msg[p] == tagLabel {
		from, to, next, err := longLabel(msg, p)
		if err != nil {
			return 0, false, err
		}
		if !t.add(msg[from:to], place{uint32(p), uint32(next - p)}) {
			return 0, false, nil
		}
		p = next
	}
	t.end(p)
	return p, p > int(s.message), nil
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

// seriesV2 checks one io.prometheus.write.v2.TimeSeries and finds the labels of interest.
func (b *Batch) seriesV2(i int) error {
	s := &b.series[i]
	msg := b.body[:s.end]
	p := int(s.message)
	if p == len(msg) || msg[p] != tagRefs {
		return b.messy(i)
	}
	f, err := readField(msg, p)
	if err != nil {
		return err
	}
	if _, err := (rule{kind: refs}).check(msg, f, uint64(len(b.symbols))); err != nil {
		return err
	}
	s.labels = span{uint32(f.value), uint32(f.end)}
	if f.value == f.end {
		return b.messy(i)
	}
	t := tally{names: b.names, places: b.placesOf(i)}
	for p := f.value; p < f.end; {
		name, n := protowire.ConsumeVarint(msg[p:f.end])
		_, m := protowire.ConsumeVarint(msg[p+n : f.end])
		if m < 0 {
			return b.messy(i)
		}
		if !t.add(b.symbol(uint32(name)), place{uint32(p), uint32(n + m)}) {
			return b.messy(i)
		}
		p += n + m
	}
	t.end(f.end)
	tidy, err := b.parts(i, f.end, &partsV2)
	if err == nil && !tidy {
		err = b.messy(i)
	}
	return err
}
