package wire

import "google.golang.org/protobuf/encoding/protowire"

// blockSize is what is copied of a label at once, if it is not longer: to copy a fixed size is faster.
const blockSize = 48

// run renders rows from the kth of n on, as long as nothing becomes of them but that a single label is added, and their
// lengths need no more bytes for that, which is the usual case: then the lengths are copied with the rest and set right,
// and one copy is faster than two. It returns where it stopped.
func (r *renderer) run(k, n int) int {
	ops := r.edit.list()
	if len(ops) != 1 || ops[0].remove {
		return k
	}
	name, names, inner, added := ops[0].name, r.names.len(), r.to == V2, r.added[0]
	var block [blockSize]byte
	copy(block[:], added)
	body, dst, copied, end := r.body, r.dst, r.copied, r.end
	for ; k < n; k++ {
		i := k
		if r.rows != nil {
			row := &r.rows[k]
			if i = int(row.Series); row.Replaced || row.NoStale {
				break
			}
		}
		s := &r.series[i]
		p := r.places[i*names+name]
		width, size := int(s.message-s.start)-1, int(s.end-s.message)+len(added)
		if s.messy || s.invalid || !s.short || size>>(7*width) != 0 {
			break
		}
		refs := 0
		if inner {
			if refs = int(s.labels.to-s.labels.from) + len(added); refs>>(7*(s.labels.from-s.message-1)) != 0 {
				break
			}
		}
		if !r.between && s.start != end {
			dst = append(dst, body[copied:end]...)
			copied = s.start
		}
		if end = s.end; p.size > 0 {
			continue
		}
		at := len(dst) + int(s.start+1-copied)
		dst = append(dst, body[copied:p.at]...)
		copied = p.at
		if next := len(dst) + len(added); len(added) <= blockSize && cap(dst)-len(dst) >= blockSize {
			*(*[blockSize]byte)(dst[len(dst) : len(dst)+blockSize]) = block
			dst = dst[:next]
		} else {
			dst = append(dst, added...)
		}
		setVarint(dst[at:at+width], size)
		if inner {
			setVarint(dst[at+width+1:at+int(s.labels.from-s.start)-1], refs)
		}
	}
	r.dst, r.copied, r.end = dst, copied, end
	return k
}

// setVarint writes a varint that takes all of dst.
func setVarint(dst []byte, v int) {
	switch len(dst) {
	case 1:
		dst[0] = byte(v)
	case 2:
		dst[0], dst[1] = byte(v)|0x80, byte(v>>7)
	default:
		for i := range dst {
			dst[i] = byte(v>>(7*i)) | 0x80
		}
		dst[len(dst)-1] &= 0x7f
	}
}

// change renders a tidy series as edited, up to the last of its labels that change.
func (r *renderer) change(s *series, places []place) {
	delta, changed := 0, false
	for k, o := range r.edit.list() {
		switch p := places[o.name]; {
		case o.remove:
			delta -= int(p.size)
			changed = changed || p.size > 0
		case p.size == 0:
			delta += len(r.added[k])
			changed = true
		}
	}
	if !changed {
		return
	}
	r.copyTo(s.start)
	r.head(s, delta)
	for k := range r.edit.ops {
		o := &r.edit.ops[k]
		p := places[o.name]
		if o.remove == (p.size == 0) {
			continue
		}
		r.copyTo(p.at)
		r.dst = append(r.dst, r.added[k]...)
		r.copied = p.at + p.size
	}
}

// head appends what is in front of the labels of a series that become longer by delta.
func (r *renderer) head(s *series, delta int) {
	size := int(s.end-s.message) + delta
	if r.to == V1 {
		r.dst = protowire.AppendVarint(append(r.dst, tagSeriesV1), uint64(size))
		r.copied = s.message
		return
	}
	refs := int(s.labels.to-s.labels.from) + delta
	size += protowire.SizeVarint(uint64(refs)) + 1 - int(s.labels.from-s.message)
	r.dst = protowire.AppendVarint(append(r.dst, tagSeriesV2), uint64(size))
	r.dst = protowire.AppendVarint(append(r.dst, tagRefs), uint64(refs))
	r.copied = s.labels.from
}
