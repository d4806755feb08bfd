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
	s := &b.series[i]
	if s.messy {
		for _, l := range b.edited(nil, i, e) {
			dst = appendKey(dst, l)
		}
		return dst
	}
	from := s.labels.from
	for _, o := range e.list() {
		p := b.place(i, o.name)
		if o.remove == (p.size == 0) {
			continue
		}
		dst = b.appendKeys(dst, span{from, p.at})
		dst = append(dst, o.key...)
		from = p.at + p.size
	}
	return b.appendKeys(dst, span{from, s.labels.to})
}

// appendKeys appends a part of the labels of a tidy series.
func (b *Batch) appendKeys(dst []byte, part span) []byte {
	for p := int(part.from); p < int(part.to); {
		var l label
		l, p = b.label(p, int(part.to))
		dst = appendKey(dst, l)
	}
	return dst
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
