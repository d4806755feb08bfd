package wire

import (
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
)

// Row is one series of a rendered request.
type Row struct {
	Series   int32
	Replaced bool          // Labels take the place of the series' own, with no edit
	NoStale  bool          // its stale markers are left out
	Labels   labels.Labels // if Replaced; sorted
}

// Render appends the request as message to, with these rows in their order, or with rows nil all series that are valid. e
// is applied to the rows whose labels are not replaced; it must be an edit of the names that Parse was given. No row may
// name an invalid series.
//
// Into the message that was parsed, every field is copied as it came, apart from the labels that change and of labels
// that were not in order; the top-level fields that are no series are all there. Into the other one goes what it has a
// field for: of the metadata, 1.0 gets that of its series once for each metric family, 2.0 that of the family of a series.
func (b *Batch) Render(dst []byte, to Message, e *Edit, rows []Row) []byte {
	r := renderers.Get().(*renderer)
	defer r.release()
	r.Batch, r.dst, r.to, r.edit, r.rows = b, dst, to, e, rows
	switch {
	case to == b.message:
		r.splice()
	case to == V1:
		r.transcodeV1()
	default:
		r.transcodeV2()
	}
	return r.dst
}

// renderers that are not in use, with their memory.
var renderers = sync.Pool{New: func() any { return new(renderer) }}

// renderer is one call of Render.
type renderer struct {
	*Batch
	dst  []byte
	to   Message
	edit *Edit
	rows []Row // nil: all valid series

	between bool   // what is between the series is copied with them
	copied  uint32 // body[copied:end] is still to be copied for the last row
	end     uint32
	added   [][]byte    // what each op adds to the labels of a tidy series; nothing if it removes
	packed  []byte      // the references in added
	fresh   symbolTable // symbols that are not in body, for the rows that are rebuilt
	freshAt int         // in dst: where they belong

	labels, last []label // of this and the last row that was rebuilt
	own          []label // scratch
	text         []byte  // scratch
}

// maxScratch is how many bytes of scratch a renderer keeps.
const maxScratch = 1 << 20

// release gives the renderer's memory to the next call.
func (r *renderer) release() {
	*r = renderer{
		added: r.added[:0], packed: r.packed[:0], labels: r.labels[:0], last: r.last[:0], own: r.own[:0], text: r.text[:0],
		fresh: symbolTable{refs: r.fresh.refs, fields: r.fresh.fields[:0]},
	}
	clear(r.fresh.refs)
	if cap(r.text)+cap(r.fresh.fields) <= maxScratch {
		renderers.Put(r)
	}
}

// splice renders into the message that was parsed.
func (r *renderer) splice() {
	r.add()
	first := uint32(len(r.body)) // where the series start
	if len(r.series) > 0 {
		first = r.series[0].start
	}
	front := max(first, r.symbolsEnd) // what is no series goes in front of all of them up to there, and else behind
	r.between = r.rows == nil && front == first
	r.dst = slices.Grow(r.dst, r.bound())
	if r.between {
		r.copySymbols()
	} else {
		r.copyOthers(0, front)
		r.copied = 0
	}
	n := len(r.rows)
	if r.rows == nil {
		n = len(r.series)
	}
	for k := 0; k < n; k++ {
		if k = r.run(k, n); k < n {
			row := r.row(k)
			r.render(&row)
		}
	}
	if r.between {
		r.copyTo(uint32(len(r.body)))
	} else {
		r.copyTo(r.end)
		r.copyOthers(front, uint32(len(r.body)))
	}
	if len(r.fresh.fields) > 0 {
		r.dst = slices.Insert(r.dst, r.freshAt, r.fresh.fields...)
	}
}

// row returns the kth one.
func (r *renderer) row(k int) Row {
	if r.rows == nil {
		return Row{Series: int32(k)}
	}
	return r.rows[k]
}

// bound is how long the result is at most, unless rows are rebuilt.
func (r *renderer) bound() int {
	each := 2 * protowire.SizeVarint(maxBody)
	for _, o := range r.edit.list() {
		each += len(o.label.raw)
	}
	size := len(r.body) + each // for the symbols that are added
	if r.rows == nil {
		return size + len(r.series)*each + blockSize
	}
	if len(r.series) > 0 { // without the series
		size -= int(r.series[len(r.series)-1].end - r.series[0].start)
	}
	for k := range r.rows {
		s := &r.series[r.rows[k].Series]
		size += int(s.end-s.start) + each
	}
	return size + blockSize
}

// add decides what each op adds to a series. In a 2.0 request those are references to new symbols, if a series needs them.
func (r *renderer) add() {
	next := uint32(len(r.symbols))
	r.packed = slices.Grow(r.packed, len(r.edit.list())*2*protowire.SizeVarint(maxItems)) // must not move
	for _, o := range r.edit.list() {
		text := o.label.raw
		if r.to == V2 {
			from := len(r.packed)
			if !o.remove && r.lacking(o.name) {
				r.packed = protowire.AppendVarint(protowire.AppendVarint(r.packed, uint64(next)), uint64(next+1))
				next += 2
			}
			text = r.packed[from:]
		}
		r.added = append(r.added, text)
	}
	r.fresh.next = next
}

// lacking says whether some row has no label of that index in names.
func (r *renderer) lacking(name int) bool {
	for k := range r.rows {
		if r.place(int(r.rows[k].Series), name).size == 0 {
			return true
		}
	}
	if r.rows == nil {
		for i := range r.series {
			if r.place(i, name).size == 0 {
				return true
			}
		}
	}
	return false
}

// render renders a row, except for what copyTo has to copy.
func (r *renderer) render(row *Row) {
	s := &r.series[row.Series]
	if s.invalid {
		if r.between {
			r.copyTo(s.start)
			r.copied = s.end
		}
		return
	}
	r.open(s)
	switch {
	case s.messy || row.Replaced || row.NoStale:
		r.rebuild(row)
	case r.edit != nil:
		r.change(s, r.placesOf(int(row.Series)))
	}
}

// open goes on to the next row.
func (r *renderer) open(s *series) {
	if !r.between && s.start != r.end {
		r.copyTo(r.end)
		r.copied = s.start
	}
	r.end = s.end
}

// copyTo copies body up to there.
func (r *renderer) copyTo(end uint32) {
	if r.copied < end {
		r.dst = append(r.dst, r.body[r.copied:end]...)
		r.copied = end
	}
}

// copyOthers copies the top-level fields between two places that are no series.
func (r *renderer) copyOthers(from, to uint32) {
	for _, o := range r.others {
		if o.from >= from && o.from < to {
			r.copied = o.from
			if o.from < r.symbolsEnd && r.symbolsEnd <= o.to {
				r.copySymbols()
			}
			r.copyTo(o.to)
		}
	}
}

// copySymbols copies body up to the end of the symbols of a 2.0 request and adds those that series need.
func (r *renderer) copySymbols() {
	if r.to == V1 {
		return
	}
	r.copyTo(r.symbolsEnd)
	for k, o := range r.edit.list() {
		if len(r.added[k]) > 0 {
			r.dst = appendSymbol(r.dst, o.label.name)
			r.dst = appendSymbol(r.dst, o.label.value)
		}
	}
	r.freshAt = len(r.dst)
}

func appendSymbol(dst, s []byte) []byte {
	return protowire.AppendBytes(append(dst, tagSymbol), s)
}
