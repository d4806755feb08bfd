package wire

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errNoEmptySymbol = errors.New("the first symbol is not the empty string")
	errLateSymbol    = errors.New("a symbol after a series")
)

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
	b.symbols, b.symbolsEnd, b.allSymbols = b.symbols[:0], 0, false
	b.shape.cut(0)
	for i := range b.shapes {
		b.shapes[i].size = 0
	}
	b.totals, b.newest, b.newestShort, b.lastMetadata = Counts{}, 0, 0, 0
	b.stale, b.invalid = b.stale[:0], b.invalid[:0]
}

func (b *Batch) parse() error {
	if len(b.body) > maxBody {
		return fmt.Errorf("%w: %d bytes", ErrTooMany, len(b.body))
	}
	var err error
	switch b.message {
	case V1:
		err = b.read(&version1)
	case V2:
		err = b.readV2()
	default:
		err = errors.New("unknown message")
	}
	b.newest = max(b.newest, int64(packed(b.newestShort)))
	return err
}

// version is how a version of the message is read.
type version struct {
	series protowire.Number          // the field
	run    func(*Batch, int) int     // reads series that are like others, and returns where it stopped
	one    func(*Batch, int) error   // reads the series of that index
	other  func(*Batch, field) error // reads a field that is no series
}

var (
	version1 = version{1, (*Batch).runV1, (*Batch).seriesV1, (*Batch).otherV1}
	version2 = version{5, (*Batch).runV2, (*Batch).seriesV2, (*Batch).otherV2}
)

// read reads the body.
func (b *Batch) read(v *version) error {
	for p := 0; p < len(b.body); {
		if next := v.run(b, p); next > p {
			p = next
			continue
		}
		f, err := readField(b.body, p)
		if err != nil {
			return err
		}
		p = f.end
		if f.number != v.series {
			if err := v.other(b, f); err != nil {
				return err
			}
			b.addOther(f.start, f.end)
			continue
		}
		if err := f.expect(protowire.BytesType); err != nil {
			return err
		}
		i := len(b.series)
		if i == maxItems {
			return fmt.Errorf("%w: more than %d series", ErrTooMany, maxItems)
		}
		b.addSeries(f.start, f.value, f.end)
		if err := v.one(b, i); err != nil {
			return fmt.Errorf("series %d: %w", i, err)
		}
	}
	return nil
}

// readV2 reads a 2.0 request: in one go if no symbol follows a series, as it should be.
func (b *Batch) readV2() error {
	if err := b.read(&version2); err == nil {
		return b.checkSymbols()
	}
	b.reset(b.message, b.body, b.names)
	for p := 0; p < len(b.body); {
		f, err := readField(b.body, p)
		if err != nil {
			return err
		}
		if f.number == 4 {
			if err := b.addSymbol(f); err != nil {
				return err
			}
		}
		p = f.end
	}
	b.allSymbols = true
	if err := b.read(&version2); err != nil {
		return err
	}
	return b.checkSymbols()
}

// otherV1 reads a field of prometheus.WriteRequest.
func (b *Batch) otherV1(f field) error {
	if f.number != 3 {
		return nil
	}
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	if _, err := layoutMetadataV1.check(b.body[:f.end], f.value, 0); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// otherV2 reads a field of io.prometheus.write.v2.Request.
func (b *Batch) otherV2(f field) error {
	if f.number != 4 || b.allSymbols {
		return nil
	}
	if len(b.series) > 0 {
		return errLateSymbol
	}
	return b.addSymbol(f)
}

// room says for how many more series there is memory.
func (b *Batch) room() int {
	room := min(cap(b.series), maxItems) - len(b.series)
	if names := b.names.len(); names > 0 {
		room = min(room, (cap(b.places)-len(b.places))/names)
	}
	return room
}

// nextSeries adds an empty series, for which there must be room. Filled in place it takes half the time of a copy.
func (b *Batch) nextSeries() *series {
	i := len(b.series)
	b.series = b.series[:i+1]
	b.series[i] = series{}
	b.places = b.places[:len(b.places)+b.names.len()]
	return &b.series[i]
}

// addSeries adds a series without labels.
func (b *Batch) addSeries(start, message, end int) {
	b.series = slices.Grow(b.series, 1)
	b.places = slices.Grow(b.places, b.names.len())
	s := b.nextSeries()
	s.start, s.message, s.end = uint32(start), uint32(message), uint32(end)
	s.short = b.body[start] < 0x80
}

// addOther notes top-level fields that are no series.
func (b *Batch) addOther(start, end int) {
	if n := len(b.others); n > 0 && int(b.others[n-1].to) == start {
		b.others[n-1].to = uint32(end)
		return
	}
	b.others = append(b.others, span{uint32(start), uint32(end)})
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
	if pt.stale() {
		b.addStale(i)
	}
}

// addStale notes a stale marker in a series, which is the last one so far.
func (b *Batch) addStale(i int) {
	if n := len(b.stale); n == 0 || b.stale[n-1] != i {
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
