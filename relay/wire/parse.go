package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

var errNoEmptySymbol = errors.New("the first symbol is not the empty string")

// Parse checks a request and finds its series and the labels in names. A malformed body is an error; so is one with more
// in it than its size can account for, which wraps ErrTooMany. After an error the batch is empty.
//
// The batch refers to body until the next Parse, and does not change it. Its memory is used again, so that usually nothing
// is allocated. Other methods must not run during Parse; after it, all may be called at once.
func (b *Batch) Parse(msg Message, body []byte, names *Names) error {
	b.reset(msg, body, names)
	if err := b.parse(); err != nil {
		b.reset(msg, nil, names)
		return fmt.Errorf("parse %s: %w", msg, err)
	}
	return nil
}

func (b *Batch) reset(msg Message, body []byte, names *Names) {
	b.message, b.body, b.names = msg, body, names
	b.series, b.places, b.others = b.series[:0], b.places[:0], b.others[:0]
	b.symbols, b.symbolsEnd, b.metadata = b.symbols[:0], 0, b.metadata[:0]
	b.last.count = 0
	b.totals, b.newest, b.stale, b.invalid = Counts{}, 0, b.stale[:0], b.invalid[:0]
}

func (b *Batch) parse() error {
	if len(b.body) > maxBody {
		return fmt.Errorf("%w: %d bytes", ErrTooMany, len(b.body))
	}
	top, general := b.fieldV1, b.seriesV1
	switch b.message {
	case V1:
	case V2:
		top, general = b.fieldV2, b.seriesV2
	default:
		return errors.New("unknown message")
	}
	for p := 0; p < len(b.body); {
		if next := b.quick(p); next > 0 {
			p = next
			continue
		}
		f, err := readField(b.body, p)
		if err != nil {
			return err
		}
		if err := top(f); err != nil {
			return err
		}
		p = f.end
	}
	if err := b.checkSymbols(); err != nil {
		return err
	}
	for i := range b.series {
		if !b.series[i].unread {
			continue
		}
		if err := general(i); err != nil {
			return fmt.Errorf("series %d: %w", i, err)
		}
	}
	slices.Sort(b.stale)
	return nil
}

// fieldV1 takes a field of prometheus.WriteRequest.
func (b *Batch) fieldV1(f field) error {
	switch f.number {
	case 1:
		return b.addSeries(f)
	case 3:
		if err := f.expect(protowire.BytesType); err != nil {
			return err
		}
		if _, err := layoutMetadataV1.check(b.body[:f.end], f.value, 0); err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		b.metadata = append(b.metadata, span{uint32(f.value), uint32(f.end)})
	}
	b.addOther(f)
	return nil
}

// fieldV2 takes a field of io.prometheus.write.v2.Request.
func (b *Batch) fieldV2(f field) error {
	switch f.number {
	case 4:
		if err := f.expect(protowire.BytesType); err != nil {
			return err
		}
		if err := b.addSymbol(f); err != nil {
			return err
		}
	case 5:
		return b.addSeries(f)
	}
	b.addOther(f)
	return nil
}

func (b *Batch) addSeries(f field) error {
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	if len(b.series) == maxItems {
		return fmt.Errorf("%w: more than %d series", ErrTooMany, maxItems)
	}
	b.series = append(b.series, series{start: uint32(f.start), message: uint32(f.value), end: uint32(f.end), unread: true})
	for range b.names.sorted {
		b.places = append(b.places, place{})
	}
	return nil
}

func (b *Batch) addOther(f field) {
	if n := len(b.others); n > 0 && int(b.others[n-1].to) == f.start {
		b.others[n-1].to = uint32(f.end)
		return
	}
	b.others = append(b.others, span{uint32(f.start), uint32(f.end)})
}

// count takes what a series holds of one kind into the sums.
func (b *Batch) count(i, kind int, pt point) {
	b.series[i].counts[kind]++
	switch kind {
	case samples:
		b.totals.Samples++
	case histograms:
		b.totals.Histograms++
	case exemplars:
		b.totals.Exemplars++
		return
	}
	b.newest = max(b.newest, pt.time)
	if pt.stale() && !slices.Contains(b.stale[max(0, len(b.stale)-1):], i) {
		b.stale = append(b.stale, i)
	}
}

// parts are the fields of a series that are not its labels, by number.
type parts [6]struct {
	of   *layout
	kind int // index of series.counts; only metadata is none
}

const notCounted = -1

var (
	partsV1 = parts{2: {layoutSampleV1, samples}, 3: {layoutExemplarV1, exemplars}, 4: {layoutHistogram, histograms}}
	partsV2 = parts{
		2: {layoutSampleV2, samples}, 3: {layoutStarted, histograms}, 4: {layoutExemplarV2, exemplars},
		5: {layoutMetadataV2, notCounted},
	}
)

// part checks and counts a field of a series that is not one of its labels.
func (b *Batch) part(i int, known *parts, f field) error {
	if int(f.number) >= len(known) || known[f.number].of == nil {
		return nil
	}
	part := &known[f.number]
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	pt, err := part.of.check(b.body[:f.end], f.value, uint64(len(b.symbols)))
	if err != nil {
		return fmt.Errorf("field %d: %w", f.number, err)
	}
	if part.kind != notCounted {
		b.count(i, part.kind, pt)
	}
	return nil
}

// parts checks and counts the fields of a series from body[p:] on, and says whether none of them is of its labels.
func (b *Batch) parts(i, p int, known *parts) (tidy bool, err error) {
	msg := b.body[:b.series[i].end]
	for p < len(msg) {
		if pt, next := shortSample(msg, p); next > 0 {
			b.count(i, samples, pt)
			p = next
			continue
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

// shortSample reads a sample as it is nearly always written: value and time, or the time alone. It returns where it ends,
// or 0 if the field is anything else.
func shortSample(msg []byte, p int) (pt point, end int) {
	w := msg[p:]
	if len(w) < 3 || w[0] != tagSample || w[1] >= 0x80 || int(w[1]) > len(w)-2 {
		return pt, 0
	}
	w = w[2 : 2+w[1]]
	end = p + 2 + len(w)
	if len(w) > 9 && w[0] == tagSampleValue {
		pt.bits = binary.LittleEndian.Uint64(w[1:])
		w = w[9:]
	}
	if len(w) < 2 || len(w) > 10 || w[0] != tagSampleTime {
		return pt, 0
	}
	for i, c := range w[1:] {
		if (c < 0x80) != (i == len(w)-2) {
			return pt, 0
		}
		pt.time |= int64(c&0x7f) << (7 * i)
	}
	return pt, end
}
