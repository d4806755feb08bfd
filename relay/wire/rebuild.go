package wire

import (
	"bytes"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
)

// rebuild renders a series from its labels, which come first, and its other fields, which are copied.
func (r *renderer) rebuild(row *Row) {
	s := &r.series[row.Series]
	r.copyTo(s.start)
	r.text = r.appendLabels(r.text[:0], r.rowLabels(row))
	tag, known := byte(tagSeriesV1), &partsV1
	if r.to == V2 {
		tag, known = tagSeriesV2, &partsV2
	}
	eachField(r.body[:s.end], int(s.message), func(f field) {
		if f.number == 1 || row.NoStale && r.staleField(known, f) {
			return
		}
		r.text = append(r.text, r.body[f.start:f.end]...)
	})
	r.dst = protowire.AppendBytes(append(r.dst, tag), r.text)
	r.copied = s.end
}

// staleField says whether a field of a series is a stale marker.
func (b *Batch) staleField(known *parts, f field) bool {
	if int(f.number) >= len(known) || known[f.number].of == nil || known[f.number].of.value == 0 {
		return false
	}
	return b.point(known[f.number].of, f).stale()
}

// point reads a sample or histogram that was checked.
func (b *Batch) point(of *layout, f field) point {
	if bits, time, ok := usualSample(b.body[f.start:f.end]); ok {
		return point{bits, int64(packed(time))}
	}
	pt, _ := of.check(b.body[:f.end], f.value, uint64(len(b.symbols)))
	return pt
}

// rowLabels returns the labels that a row is to have, sorted. They are valid until the next call.
func (r *renderer) rowLabels(row *Row) []label {
	r.labels, r.last = r.last, r.labels
	if !row.Replaced {
		r.labels = r.edited(r.labels[:0], int(row.Series), r.edit)
		return r.labels
	}
	r.own = r.collect(r.own[:0], int(row.Series))
	r.labels = r.labels[:0]
	row.Labels.Range(func(l labels.Label) { r.labels = append(r.labels, labelLike(r.own, l)) })
	return r.labels
}

// labelLike returns the label, with the references of a series' own labels where the strings are the same.
func labelLike(own []label, l labels.Label) label {
	out := label{name: []byte(l.Name), value: []byte(l.Value)}
	for _, o := range own {
		if string(o.name) == l.Name {
			out.refs[0] = o.refs[0]
			if string(o.value) == l.Value {
				return o
			}
		}
	}
	return out
}

// appendLabels appends the labels as fields of a series.
func (r *renderer) appendLabels(dst []byte, list []label) []byte {
	if r.to == V1 {
		for _, l := range list {
			dst = appendLabel(dst, l)
		}
		return dst
	}
	if len(list) == 0 {
		return dst
	}
	size := 0
	for i := range list {
		l := &list[i]
		var last label // often the same, and quicker to compare with than to look up
		if i < len(r.last) {
			last = r.last[i]
		}
		l.refs[0] = r.ref(l.refs[0], l.name, last.refs[0], last.name)
		l.refs[1] = r.ref(l.refs[1], l.value, last.refs[1], last.value)
		size += protowire.SizeVarint(uint64(l.refs[0])) + protowire.SizeVarint(uint64(l.refs[1]))
	}
	dst = protowire.AppendVarint(append(dst, tagRefs), uint64(size))
	for _, l := range list {
		dst = protowire.AppendVarint(dst, uint64(l.refs[0]))
		dst = protowire.AppendVarint(dst, uint64(l.refs[1]))
	}
	return dst
}

// ref returns the reference to s, which is known, or that of last if it is the same, or that of a fresh symbol.
func (r *renderer) ref(known uint32, s []byte, ref uint32, last []byte) uint32 {
	if known > 0 {
		return known
	}
	if ref > 0 && bytes.Equal(s, last) {
		return ref
	}
	return r.fresh.ref(s)
}

// symbolTable gives strings their references, from next on.
type symbolTable struct {
	refs   map[string]uint32
	next   uint32
	fields []byte // the strings as symbols of a request
}

func (t *symbolTable) ref(s []byte) uint32 {
	if len(s) == 0 {
		return 0
	}
	if ref, ok := t.refs[string(s)]; ok {
		return ref
	}
	if t.refs == nil {
		t.refs = map[string]uint32{}
	}
	ref := t.next
	t.refs[string(s)] = ref
	t.next++
	t.fields = appendSymbol(t.fields, s)
	return ref
}
