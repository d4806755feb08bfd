package wire

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Labels returns a copy of the labels of a series, with e applied. The builder is only a scratch.
func (b *Batch) Labels(i int, e *Edit, sb *labels.ScratchBuilder) labels.Labels {
	var buf [32]label
	list := b.edited(buf[:0], i, e)
	size := 0
	for _, l := range list {
		size += len(l.name) + len(l.value)
	}
	var text strings.Builder // one copy for all of them
	text.Grow(size)
	for _, l := range list {
		text.Write(l.name)
		text.Write(l.value)
	}
	sb.Reset()
	rest := text.String()
	for _, l := range list {
		n, m := len(l.name), len(l.name)+len(l.value)
		sb.Add(rest[:n], rest[n:m])
		rest = rest[m:]
	}
	return sb.Labels()
}

// AppendKey appends name 0xFF value 0xFF … of the labels of a series, sorted, with e applied: what hashrings hash.
func (b *Batch) AppendKey(dst []byte, i int, e *Edit) []byte {
	if !b.series[i].messy {
		return b.appendTidyKey(dst, i, e)
	}
	for _, l := range b.edited(nil, i, e) {
		dst = appendKey(dst, l)
	}
	return dst
}

// appendTidyKey is AppendKey for a series whose labels are where their places are.
func (b *Batch) appendTidyKey(dst []byte, i int, e *Edit) []byte {
	s, places, ops := &b.series[i], b.placesOf(i), e.list()
	for p, to := int(s.labels.from), int(s.labels.to); ; {
		removed := false
		for ; len(ops) > 0 && int(places[ops[0].name].at) <= p; ops = ops[1:] {
			switch there := places[ops[0].name].size > 0; {
			case there && ops[0].remove:
				removed = true
			case !there && !ops[0].remove:
				dst = append(dst, ops[0].key...)
			}
		}
		if p >= to {
			return dst
		}
		var l label
		l, p = b.tidyLabel(p, to)
		if !removed {
			dst = appendKey(dst, l)
		}
	}
}

// tidyLabel is label, faster where that is written as usual.
func (b *Batch) tidyLabel(p, to int) (label, int) {
	if b.message == V2 {
		name, value, end := shortRefPair(b.body[:to], p)
		return label{name: b.symbol(name), value: b.symbol(value)}, end
	}
	if name, size := shortLabel(b.body, p, to); size > 0 {
		return label{name: name, value: b.body[p+4+len(name)+2 : p+size]}, p + size
	}
	return b.label(p, to)
}

// edited appends the labels of a series with e applied, sorted by name.
func (b *Batch) edited(dst []label, i int, e *Edit) []label {
	from := len(dst)
	dst = b.collect(dst, i)
	for _, o := range e.list() {
		at, there := slices.BinarySearchFunc(dst[from:], b.names.sorted[o.name], func(l label, name string) int {
			return strings.Compare(string(l.name), name)
		})
		switch {
		case there && o.remove:
			dst = slices.Delete(dst, from+at, from+at+1)
		case !there && !o.remove:
			dst = slices.Insert(dst, from+at, o.label)
		}
	}
	return dst
}
