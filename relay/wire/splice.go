package wire

// quickAdd renders series from the first one on as long as one label is to be added to each, and nothing else to be done.
// It returns the first series that is left.
func (r *renderer) quickAdd() int {
	if len(r.edit.list()) != 1 || r.edit.ops[0].remove {
		return 0
	}
	name, raw := r.edit.ops[0].name, r.edit.ops[0].label.raw
	if len(raw) >= maxQuick {
		return 0
	}
	if r.to == V2 {
		raw = r.added[0].packed()
		if len(r.series) == 0 || r.series[0].start < r.symbolsEnd {
			return 0
		}
		r.copyTo(r.series[0].start)
	}
	body, dst := r.body, r.dst[:cap(r.dst)]
	n, copied, width, i := len(r.dst), r.copied, r.names.len(), 0
	for ; i < len(r.series); i++ {
		s := &r.series[i]
		p := r.places[i*width+name]
		if s.messy || s.invalid || p.size > 0 || s.end-s.message >= maxQuick {
			break
		}
		n += put(dst[n:], body[copied:], int(s.start)-copied)
		copied = int(p.at)
		if r.to == V1 {
			n += putHead(dst[n:], tagSeriesV1, s.end-s.message+uint32(len(raw)))
			n += put(dst[n:], body[s.message:], copied-int(s.message))
		} else {
			size := s.labels.to - s.labels.from + uint32(len(raw))
			n += putHead(dst[n:], tagSeriesV2, size+sizeOfHead(size)+s.end-s.labels.to)
			n += putHead(dst[n:], tagRefs, size)
			n += put(dst[n:], body[s.labels.from:], copied-int(s.labels.from))
		}
		n += copy(dst[n:], raw)
	}
	r.dst, r.copied = dst[:n], copied
	return i
}

// maxQuick is half of what a length of two bytes can say: a series and a label below it fit together.
const maxQuick = 1 << 13

// put copies size bytes. What there is room for after them in dst may be overwritten.
func put(dst, src []byte, size int) int {
	if size <= 64 && len(src) >= 64 && len(dst) >= 64 {
		*(*[64]byte)(dst) = [64]byte(src)
		return size
	}
	return copy(dst, src[:size])
}

// putHead writes a tag and a length of less than 1<<14.
func putHead(dst []byte, tag byte, size uint32) int {
	dst[0] = tag
	if size < 0x80 {
		dst[1] = byte(size)
		return 2
	}
	dst[1], dst[2] = byte(size)|0x80, byte(size>>7)
	return 3
}

// sizeOfHead is how much putHead writes.
func sizeOfHead(size uint32) uint32 {
	if size < 0x80 {
		return 2
	}
	return 3
}
