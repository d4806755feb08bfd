package wire

import (
	"bytes"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// eachRow calls visit with the rows.
func (r *renderer) eachRow(visit func(*Row)) {
	for k := range r.rows {
		visit(&r.rows[k])
	}
	if r.rows != nil {
		return
	}
	for i := range r.series {
		if !r.series[i].invalid {
			visit(&Row{Series: int32(i)})
		}
	}
}

// transcodeV1 renders a 2.0 request as 1.0.
func (r *renderer) transcodeV1() {
	seen := map[string]struct{}{}
	var families []byte
	r.eachRow(func(row *Row) {
		s := &r.series[row.Series]
		list := r.rowLabels(row)
		r.text = r.appendLabels(r.text[:0], list)
		var m metadata
		eachField(r.body[:s.end], int(s.message), func(f field) {
			if row.NoStale && r.staleField(&partsV2, f) {
				return
			}
			switch f.number {
			case 2:
				r.text = appendSample(r.text, r.point(layoutSampleV2, f))
			case 3:
				r.text = appendHistogram(r.text, 4, r.body[:f.end], f)
			case 4:
				r.text = r.appendExemplarV1(r.text, f)
			case 5:
				m.read(r.body[:f.end], f)
			}
		})
		r.dst = protowire.AppendBytes(append(r.dst, tagSeriesV1), r.text)
		families = r.appendMetadataV1(families, m, list, seen)
	})
	r.dst = append(r.dst, families...)
}

// transcodeV2 renders a 1.0 request as 2.0.
func (r *renderer) transcodeV2() {
	r.fresh.next, r.fresh.fields = 1, append(r.fresh.fields, tagSymbol, 0)
	families := map[string]span{}
	for _, o := range r.others {
		eachField(r.body[:o.to], int(o.from), func(f field) {
			if f.number != 3 {
				return
			}
			family := string(metadataText(r.body[:f.end], f.value, 2))
			if _, ok := families[family]; !ok {
				families[family] = span{uint32(f.value), uint32(f.end)}
			}
		})
	}
	at := len(r.dst)
	r.eachRow(func(row *Row) {
		s := &r.series[row.Series]
		list := r.rowLabels(row)
		r.text = r.appendLabels(r.text[:0], list)
		eachField(r.body[:s.end], int(s.message), func(f field) {
			if row.NoStale && r.staleField(&partsV1, f) {
				return
			}
			switch f.number {
			case 2:
				r.text = appendSample(r.text, r.point(layoutSampleV1, f))
			case 3:
				r.text = r.appendExemplarV2(r.text, f)
			case 4:
				r.text = appendHistogram(r.text, 3, r.body[:f.end], f)
			}
		})
		r.text = r.appendMetadataV2(r.text, families, list)
		r.dst = protowire.AppendBytes(append(r.dst, tagSeriesV2), r.text)
	})
	r.dst = slices.Insert(r.dst, at, r.fresh.fields...)
}

// appendSample appends a sample as field 2 of a series of either version.
func appendSample(dst []byte, pt point) []byte {
	dst = append(dst, tagSample, 0)
	from := len(dst)
	dst = appendPoint(dst, 1, pt)
	dst[from-1] = byte(len(dst) - from)
	return dst
}

// appendPoint appends a value and a time as the fields number and number+1. Zeros are left out.
func appendPoint(dst []byte, number protowire.Number, pt point) []byte {
	if pt.bits != 0 {
		dst = protowire.AppendTag(dst, number, protowire.Fixed64Type)
		dst = binary.LittleEndian.AppendUint64(dst, pt.bits)
	}
	if pt.time != 0 {
		dst = protowire.AppendTag(dst, number+1, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(pt.time))
	}
	return dst
}

// lastOfHistogram is the highest field that the histograms of both versions have in common.
const lastOfHistogram = 16

// appendHistogram appends a histogram as field number of a series of the other version. The start timestamp is left out,
// and what is unknown.
func appendHistogram(dst []byte, number protowire.Number, msg []byte, f field) []byte {
	size := 0
	known := func(visit func(field)) {
		eachField(msg, f.value, func(f field) {
			if f.number <= lastOfHistogram {
				visit(f)
			}
		})
	}
	known(func(f field) { size += f.end - f.start })
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	known(func(f field) { dst = append(dst, msg[f.start:f.end]...) })
	return dst
}

// appendExemplarV1 appends a 2.0 exemplar as one of a 1.0 series.
func (r *renderer) appendExemplarV1(dst []byte, f field) []byte {
	var refs []uint32
	var pt point
	eachField(r.body[:f.end], f.value, func(f field) {
		switch f.number {
		case 1:
			eachRef(r.body, f, func(ref uint64) { refs = append(refs, uint32(ref)) })
		case 2:
			pt.bits = f.fixed64(r.body)
		case 3:
			pt.time = int64(f.varint)
		}
	})
	var message []byte
	for ; len(refs) >= 2; refs = refs[2:] {
		message = appendLabel(message, r.labelOfRefs(refs[0], refs[1]))
	}
	message = appendPoint(message, 2, pt)
	return protowire.AppendBytes(protowire.AppendTag(dst, 3, protowire.BytesType), message)
}

// appendExemplarV2 appends a 1.0 exemplar as one of a 2.0 series.
func (r *renderer) appendExemplarV2(dst []byte, f field) []byte {
	var packed, message []byte
	var pt point
	eachField(r.body[:f.end], f.value, func(f field) {
		switch f.number {
		case 1:
			l := labelOf(r.body, f)
			packed = protowire.AppendVarint(packed, uint64(r.fresh.ref(l.name)))
			packed = protowire.AppendVarint(packed, uint64(r.fresh.ref(l.value)))
		case 2:
			pt.bits = f.fixed64(r.body)
		case 3:
			pt.time = int64(f.varint)
		}
	})
	if len(packed) > 0 {
		message = protowire.AppendBytes(append(message, tagRefs), packed)
	}
	message = appendPoint(message, 2, pt)
	return protowire.AppendBytes(protowire.AppendTag(dst, 4, protowire.BytesType), message)
}

// metadata is that of a 2.0 series.
type metadata struct {
	kind       uint64
	help, unit uint32
}

// The types of metrics whose series are named after their family with a suffix. They are the same in both versions.
const (
	kindHistogram      = 3
	kindGaugeHistogram = 4
	kindSummary        = 5
)

// suffixes of the series of such a family.
var suffixes = [][]byte{[]byte("_bucket"), []byte("_sum"), []byte("_count")}

// read takes a field that is a Metadata; of several, later ones go on where earlier ones ended.
func (m *metadata) read(msg []byte, f field) {
	eachField(msg, f.value, func(f field) {
		switch f.number {
		case 1:
			m.kind = f.varint
		case 3:
			m.help = uint32(f.varint)
		case 4:
			m.unit = uint32(f.varint)
		}
	})
}

// family is the name of the metric family of a series of that name.
func family(kind uint64, name []byte) []byte {
	if kind == kindHistogram || kind == kindGaugeHistogram || kind == kindSummary {
		for _, suffix := range suffixes {
			if short, ok := bytes.CutSuffix(name, suffix); ok && len(short) > 0 {
				return short
			}
		}
	}
	return name
}

// metricName is the name of the metric in a list of labels.
func metricName(list []label) []byte {
	for _, l := range list {
		if string(l.name) == "__name__" {
			return l.value
		}
	}
	return nil
}

// appendMetadataV1 appends what m says as the 1.0 metadata of the series' family, unless the family is among those seen.
func (r *renderer) appendMetadataV1(dst []byte, m metadata, list []label, seen map[string]struct{}) []byte {
	help, unit := r.symbol(m.help), r.symbol(m.unit)
	name := family(m.kind, metricName(list))
	if len(name) == 0 || m.kind == 0 && len(help) == 0 && len(unit) == 0 {
		return dst
	}
	if _, ok := seen[string(name)]; ok {
		return dst
	}
	seen[string(name)] = struct{}{}
	var message []byte
	if m.kind != 0 {
		message = protowire.AppendTag(message, 1, protowire.VarintType)
		message = protowire.AppendVarint(message, m.kind)
	}
	message = appendText(message, 2, name)
	message = appendText(message, 4, help)
	message = appendText(message, 5, unit)
	return protowire.AppendBytes(append(dst, tagMetadataV1), message)
}

// appendText appends a string field, unless it is empty.
func appendText(dst []byte, number protowire.Number, s []byte) []byte {
	if len(s) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, number, protowire.BytesType), s)
}

// metadataText returns a string field of a MetricMetadata.
func metadataText(msg []byte, p int, number protowire.Number) (text []byte) {
	eachField(msg, p, func(f field) {
		if f.number == number {
			text = msg[f.value:f.end]
		}
	})
	return text
}

// metadataKind returns the type in a MetricMetadata.
func metadataKind(msg []byte, p int) (kind uint64) {
	eachField(msg, p, func(f field) {
		if f.number == 1 {
			kind = f.varint
		}
	})
	return kind
}

// appendMetadataV2 appends the metadata of the family of a series.
func (r *renderer) appendMetadataV2(dst []byte, families map[string]span, list []label) []byte {
	name := metricName(list)
	m, ok := families[string(name)]
	if !ok {
		for _, kind := range suffixes {
			short, cut := bytes.CutSuffix(name, kind)
			if !cut {
				continue
			}
			m, ok = families[string(short)]
			kind := metadataKind(r.body[:m.to], int(m.from))
			ok = ok && (kind == kindHistogram || kind == kindGaugeHistogram || kind == kindSummary)
			break
		}
	}
	if !ok {
		return dst
	}
	msg := r.body[:m.to]
	var message []byte
	if kind := metadataKind(msg, int(m.from)); kind != 0 {
		message = protowire.AppendVarint(append(message, 1<<3), kind)
	}
	if help := metadataText(msg, int(m.from), 4); len(help) > 0 {
		message = protowire.AppendVarint(append(message, 3<<3), uint64(r.fresh.ref(help)))
	}
	if unit := metadataText(msg, int(m.from), 5); len(unit) > 0 {
		message = protowire.AppendVarint(append(message, 4<<3), uint64(r.fresh.ref(unit)))
	}
	return protowire.AppendBytes(append(dst, tagMetadataV2), message)
}
