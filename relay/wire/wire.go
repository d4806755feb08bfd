// Package wire treats remote_write requests as bytes: it checks them, finds the series and the labels of interest in
// them, and writes them again with labels added and removed, in part, or as the other version of the message, without
// building the messages in memory. What it does not know it copies. Receivers, tenants and retries are left to others.
package wire

import (
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// Message names the protobuf message of a remote_write request, as in the content type.
type Message string

// The messages there are.
const (
	V1 Message = "prometheus.WriteRequest"        // remote_write 1.0
	V2 Message = "io.prometheus.write.v2.Request" // remote_write 2.0
)

// ErrTooMany is returned for a request that is well formed as far as it was read, but out of proportion: more series,
// symbols or labels than a request of that size can sensibly have. A smaller one may pass.
var ErrTooMany = errors.New("request out of bounds")

const (
	// maxItems bounds series, symbols and the labels of one series: an empty one takes 2 bytes on the wire.
	maxItems = 1 << 18
	// maxWritten bounds the bytes of all labels of a 2.0 request when each reference is replaced by its symbol.
	maxWritten = 1 << 27
	// maxString is the longest name or value that labels.Labels can hold.
	maxString = 1<<24 - 1
	// maxBody keeps every offset within 32 bits.
	maxBody = math.MaxInt32
)

// Counts are the parts of a request that a receiver takes or refuses.
type Counts struct{ Samples, Histograms, Exemplars int }

// Add returns the sums of both.
func (c Counts) Add(o Counts) Counts {
	return Counts{c.Samples + o.Samples, c.Histograms + o.Histograms, c.Exemplars + o.Exemplars}
}

// Invalid is a series that no receiver would take.
type Invalid struct {
	Series int
	Reason string
}

// Why a series is invalid.
const (
	reasonNoLabels  = "no labels"
	reasonEmptyName = "empty label name"
	reasonTwice     = "duplicate label name"
)

// point is the value, or the sum of a histogram, and the time of a sample.
type point struct {
	bits uint64
	time int64
}

// stale says whether the point is a stale marker.
func (p point) stale() bool { return p.bits == value.StaleNaN }

// span is body[from:to].
type span struct{ from, to uint32 }

// place is where a label of interest is in a series, or where it would be.
type place struct {
	at   uint32
	size uint32 // 0: the series has no such label
}

// series is one series of a request. Unless it is messy, its labels are in front, each once, sorted by name.
type series struct {
	start, message, end uint32 // body[start:end] is the field, body[message:end] its value
	labels              span   // 1.0: the label fields; 2.0: the packed references. Unless messy
	counts              [3]uint32
	short               bool // the tag takes one byte
	messy               bool // the labels must be collected and sorted first
	invalid             bool
}

// The indexes of series.counts.
const (
	samples = iota
	histograms
	exemplars
)

// Batch is a request that was parsed. The zero value is ready for Parse.
type Batch struct {
	message Message
	body    []byte
	names   *Names

	series     []series
	places     []place // len(names) for each series
	others     []span  // top-level fields that are no series, adjacent ones as one
	symbols    []span
	symbolsEnd uint32 // where the last symbol ends

	totals  Counts
	newest  int64
	stale   []int
	invalid []Invalid

	// What Parse alone uses.
	allSymbols   bool   // all symbols are known
	lastMetadata uint64 // a field of at most 8 bytes that is good in a 2.0 series, or 0
	newestShort  uint64 // the greatest time that shortSample has returned
	shape        shapeV1
	shapes       [shapes]shapeV2
	scratch      []label
}

// Message returns what was parsed.
func (b *Batch) Message() Message { return b.message }

// Len returns the number of series, the invalid ones included.
func (b *Batch) Len() int { return len(b.series) }

// Totals returns the sums over all series, the invalid ones included.
func (b *Batch) Totals() Counts { return b.totals }

// Counts returns those of one series.
func (b *Batch) Counts(i int) Counts {
	c := &b.series[i].counts
	return Counts{int(c[samples]), int(c[histograms]), int(c[exemplars])}
}

// Newest returns the time of the newest sample or histogram in Unix milliseconds, or 0 if there is none.
func (b *Batch) Newest() int64 { return b.newest }

// Stale returns the series that hold at least one stale marker, in their order. The slice is the batch's.
func (b *Batch) Stale() []int { return b.stale }

// Invalid returns the series that no receiver would take, in their order. The slice is the batch's.
func (b *Batch) Invalid() []Invalid { return b.invalid }

// Value returns the value of a label, which must be among the names that Parse was given. It is part of the body.
func (b *Batch) Value(i int, name string) ([]byte, bool) {
	j, ok := b.names.index(name)
	if !ok {
		return nil, false
	}
	p := b.place(i, j)
	if p.size == 0 {
		return nil, false
	}
	if !b.series[i].messy {
		l, _ := b.label(int(p.at), int(p.at+p.size))
		return l.value, true
	}
	for _, l := range b.collect(nil, i) {
		if string(l.name) == name {
			return l.value, true
		}
	}
	return nil, false
}

// place returns where the label with that index in names is, or would be, in a series.
func (b *Batch) place(i, name int) place { return b.places[i*b.names.len()+name] }
