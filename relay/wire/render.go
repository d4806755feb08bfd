package wire

import (
	"encoding/binary"
	"slices"

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
	r := renderer{Batch: b, dst: dst, edit: e, to: to}
	switch {
	case to != b.message && to == V1:
		r.transcodeV1(rows)
	case to != b.message:
		r.transcodeV2(rows)
	default:
		r.splice(rows)
	}
	return r.dst
}

// renderer is one call of Render.
type renderer struct {
	*Batch
	dst  []byte
	edit *Edit
	to   Message

	copied int               // of body: where to go on copying
	added  [maxOps]addedRefs // of each op
	fresh  symbolTable       // symbols that no body has, for the rows that are rebuilt
	at     int               // in dst: where fresh belongs

	labels  []label // scratch
	message []byte  // scratch
}

// addedRefs are the packed references to the name and value of an op, in a 2.0 request.
type addedRefs struct {
	refs [2]uint32
	buf  [2 * 5]byte
	size int // of the packed references in buf; 0: no series lacks the label
}

func (a *addedRefs) packed() []byte { return a.buf[:a.size] }

// splice renders into the message that was parsed.
func (r *renderer) splice(rows []Row) {
	if rows == nil {
		r.spliceAll()
	} else {
		r.spliceRows(rows)
	}
	if len(r.fresh.fields) > 0 {
		r.dst = slices.Insert(r.dst, r.at, r.fresh.fields...)
	}
}

func (r *renderer) spliceAll() {
	r.dst = slices.Grow(r.dst, r.bound(len(r.body), len(r.series)))
	r.addSymbols(nil)
	for i := r.quickAdd(); i < len(r.series); i++ {
		s := &r.series[i]
		if s.invalid {
			r.copyTo(s.start)
			r.copied = int(s.end)
			continue
		}
		r.row(Row{Series: int32(i)})
	}
	r.copyTo(uint32(len(r.body)))
}

func (r *renderer) spliceRows(rows []Row) {
	size := len(r.body)
	for _, row := range rows {
		size += int(r.series[row.Series].end - r.series[row.Series].start)
	}
	r.dst = slices.Grow(r.dst, r.bound(size, len(rows)))
	r.addSymbols(rows)
	first := uint32(len(r.body))
	if len(r.series) > 0 {
		first = r.series[0].start
	}
	r.copyOthers(0, first)
	r.copied = int(first)
	for _, row := range rows {
		if s := &r.series[row.Series]; int(s.start) != r.copied {
			r.copied = int(s.start)
		}
		r.row(row)
		r.copyTo(r.series[row.Series].end)
	}
	r.copyOthers(first, uint32(len(r.body)))
}

// bound is how long size bytes of body with that many series become at most, unless rows are rebuilt.
func (r *renderer) bound(size, rows int) int {
	each := 2 * protowire.SizeVarint(maxBody)
	for _, o := range r.edit.list() {
		each += len(o.label.raw)
	}
	return size + (rows+1)*each
}

// copyTo copies body up to there, from where it was copied to before.
func (r *renderer) copyTo(end uint32) {
	if r.copied < int(end) {
		r.copySymbols(r.copied, int(end))
		r.copied = int(end)
	}
}

// copyOthers copies the top-level fields between two series that are no series.
func (r *renderer) copyOthers(from, to uint32) {
	for _, o := range r.others {
		if o.from >= from && o.from < to {
			r.copied = int(o.from)
			r.copyTo(o.to)
		}
	}
}

// copySymbols copies body[from:to], with the added symbols where the last symbol ends.
func (r *renderer) copySymbols(from, to int) {
	end := int(r.symbolsEnd)
	if r.to == V1 || end <= from || end > to {
		r.dst = append(r.dst, r.body[from:to]...)
		return
	}
	r.dst = append(r.dst, r.body[from:end]...)
	for k, o := range r.edit.list() {
		if r.added[k].size > 0 {
			r.dst = appendSymbol(r.dst, o.label.name)
			r.dst = appendSymbol(r.dst, o.label.value)
		}
	}
	r.at = len(r.dst)
	r.dst = append(r.dst, r.body[end:to]...)
}

func appendSymbol(dst, s []byte) []byte {
	return protowire.AppendBytes(append(dst, tagSymbol), s)
}

// addSymbols gives the labels that some series lack their references, in a 2.0 request.
func (r *renderer) addSymbols(rows []Row) {
	if r.to == V1 {
		return
	}
	next := uint32(len(r.symbols))
	for k, o := range r.edit.list() {
		a := &r.added[k]
		if !o.remove && r.lacking(o.name, rows) {
			a.refs = [2]uint32{next, next + 1}
			a.size = binary.PutUvarint(a.buf[:], uint64(next))
			a.size += binary.PutUvarint(a.buf[a.size:], uint64(next+1))
			next += 2
		}
	}
	r.fresh.next = next
}

// lacking says whether some series has no label of that index in names.
func (r *renderer) lacking(name int, rows []Row) bool {
	if rows == nil {
		for i := range r.series {
			if r.place(i, name).size == 0 {
				return true
			}
		}
	}
	return slices.ContainsFunc(rows, func(row Row) bool { return r.place(int(row.Series), name).size == 0 })
}

// row renders one series, except for what follows its labels when nothing there changes: that copyTo has to copy.
func (r *renderer) row(row Row) {
	s := &r.series[row.Series]
	switch {
	case s.messy || row.Replaced || row.NoStale:
		r.copyTo(s.start)
		r.rebuild(row)
		r.copied = int(s.end)
	case r.to == V1:
		r.editV1(int(row.Series))
	default:
		r.editV2(int(row.Series))
	}
}

// editV1 renders a tidy 1.0 series.
func (r *renderer) editV1(i int) {
	s, places := &r.series[i], r.placesOf(i)
	size := s.end - s.message
	changed := false
	for k := range r.edit.list() {
		o, p := &r.edit.ops[k], places[r.edit.ops[k].name]
		switch {
		case o.remove && p.size > 0:
			size -= p.size
			changed = true
		case !o.remove && p.size == 0:
			size += uint32(len(o.label.raw))
			changed = true
		}
	}
	if !changed {
		return
	}
	r.copyTo(s.start)
	r.dst = protowire.AppendVarint(append(r.dst, tagSeriesV1), uint64(size))
	r.copied = int(s.message)
	for k := range r.edit.ops {
		o, p := &r.edit.ops[k], places[r.edit.ops[k].name]
		switch {
		case o.remove && p.size > 0:
			r.copyTo(p.at)
			r.copied = int(p.at + p.size)
		case !o.remove && p.size == 0:
			r.copyTo(p.at)
			r.dst = append(r.dst, o.label.raw...)
		}
	}
}

// editV2 renders a tidy 2.0 series.
func (r *renderer) editV2(i int) {
	s, places := &r.series[i], r.placesOf(i)
	size := s.labels.to - s.labels.from
	changed := false
	for k := range r.edit.list() {
		o, p := &r.edit.ops[k], places[r.edit.ops[k].name]
		switch {
		case o.remove && p.size > 0:
			size -= p.size
			changed = true
		case !o.remove && p.size == 0:
			size += uint32(r.added[k].size)
			changed = true
		}
	}
	if !changed {
		return
	}
	r.copyTo(s.start)
	total := 1 + protowire.SizeBytes(int(size)) + int(s.end-s.labels.to)
	r.dst = protowire.AppendVarint(append(r.dst, tagSeriesV2), uint64(total))
	r.dst = protowire.AppendVarint(append(r.dst, tagRefs), uint64(size))
	r.copied = int(s.labels.from)
	for k := range r.edit.ops {
		o, p := &r.edit.ops[k], places[r.edit.ops[k].name]
		switch {
		case o.remove && p.size > 0:
			r.copyTo(p.at)
			r.copied = int(p.at + p.size)
		case !o.remove && p.size == 0:
			r.copyTo(p.at)
			r.dst = append(r.dst, r.added[k].packed()...)
		}
	}
}
