package wire_test

import (
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// seed is a body that shows one thing.
type seed struct {
	name string
	body []byte
}

func marshal(msg interface{ Marshal() ([]byte, error) }) []byte {
	b, err := msg.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

var staleNaN = math.Float64frombits(value.StaleNaN)

// labelsV1 are labels of these names and values, in this order.
func labelsV1(pairs ...string) (list []prompb.Label) {
	for ; len(pairs) > 0; pairs = pairs[2:] {
		list = append(list, prompb.Label{Name: pairs[0], Value: pairs[1]})
	}
	return list
}

func sampleV1(v float64) []prompb.Sample {
	return []prompb.Sample{{Value: v, Timestamp: 1758000000000}}
}

// nhcb is a native histogram with custom buckets.
var nhcb = prompb.Histogram{
	Count: &prompb.Histogram_CountInt{CountInt: 7}, Sum: 18.4, Schema: -53, Timestamp: 1758000000001,
	PositiveSpans: []prompb.BucketSpan{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveDeltas: []int64{1, 2, -1}, CustomValues: []float64{0.1, 1, 10, 100},
}

// exponential is a float histogram.
var exponential = prompb.Histogram{
	Count: &prompb.Histogram_CountFloat{CountFloat: 7.5}, Sum: 18.4, Schema: 3, ZeroThreshold: 1e-128, ZeroCount: &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 1},
	NegativeSpans: []prompb.BucketSpan{{Offset: -3, Length: 1}}, NegativeCounts: []float64{2},
	PositiveSpans: []prompb.BucketSpan{{Offset: 1, Length: 2}}, PositiveCounts: []float64{1, 3.5}, ResetHint: prompb.Histogram_GAUGE, Timestamp: 1758000000002,
}

// unknown are fields that no message has: a varint, a fixed64, bytes, a group and a fixed32.
func unknown() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 50, protowire.VarintType), 1<<40)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 51, protowire.Fixed64Type), 7)
	b = protowire.AppendString(protowire.AppendTag(b, 52, protowire.BytesType), "new")
	b = protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(protowire.AppendTag(b, 53, protowire.StartGroupType), 1, protowire.VarintType), 3), 53, protowire.EndGroupType)
	return protowire.AppendFixed32(protowire.AppendTag(b, 54, protowire.Fixed32Type), 7)
}

// message is a field that holds these fields.
func message(number protowire.Number, fields ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), join(fields...))
}

func text(number protowire.Number, s string) []byte { return message(number, []byte(s)) }

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// long is a label value that makes a series of n bytes, together with a="…" and without a sample.
func ofSize(n int) []prompb.Label {
	for size := n; ; size-- {
		list := labelsV1("a", strings.Repeat("v", size))
		if ts := (&prompb.TimeSeries{Labels: list}); ts.Size() <= n {
			return list
		}
	}
}

func seedsV1() []seed {
	series := func(name string, list ...prompb.TimeSeries) seed {
		return seed{name, marshal(&prompb.WriteRequest{Timeseries: list})}
	}
	plain := prompb.TimeSeries{Labels: labelsV1("__name__", "up", "instance", "a:1", "job", "ledger"), Samples: sampleV1(1)}
	seeds := []seed{
		{"empty", nil},
		series("plain", plain, plain),
		series("unsorted", prompb.TimeSeries{Labels: labelsV1("job", "ledger", "__name__", "up", "zone", "a"), Samples: sampleV1(1)}, plain),
		series("duplicate", plain, prompb.TimeSeries{Labels: labelsV1("__name__", "up", "job", "a", "job", "b"), Samples: sampleV1(1)}, plain),
		series("duplicate-apart", prompb.TimeSeries{Labels: labelsV1("job", "a", "__name__", "up", "job", "b"), Samples: sampleV1(staleNaN)}),
		series("empty-series", prompb.TimeSeries{}, plain, prompb.TimeSeries{Samples: sampleV1(0)}),
		series("no-samples", prompb.TimeSeries{Labels: plain.Labels}),
		series("empty-name", prompb.TimeSeries{Labels: labelsV1("", "x", "job", "a")}, prompb.TimeSeries{Labels: labelsV1("job", "", "le", "")}),
		series("there-already", prompb.TimeSeries{Labels: labelsV1("A", "0", "prometheus_replica", "other", "tenant", "t", "zone", "z"), Samples: sampleV1(1)}),
		series("only-the-removed", prompb.TimeSeries{Labels: labelsV1("tenant", "t"), Samples: sampleV1(0)}),
		series("stale", prompb.TimeSeries{Labels: plain.Labels, Samples: append(sampleV1(staleNaN), sampleV1(3)...)}, plain,
			prompb.TimeSeries{Labels: plain.Labels, Histograms: []prompb.Histogram{{Sum: staleNaN, Timestamp: 5}}}),
		series("exemplars", prompb.TimeSeries{Labels: plain.Labels, Samples: sampleV1(0), Exemplars: []prompb.Exemplar{{Labels: labelsV1("trace_id", "abc", "a", "b"), Value: 2, Timestamp: -3}, {}}}),
		series("histograms", prompb.TimeSeries{Labels: plain.Labels, Histograms: []prompb.Histogram{nhcb, exponential}}),
		series("multibyte", prompb.TimeSeries{Labels: labelsV1("héllo", "wörld", "ключ", "значение", "名前", "値"), Samples: sampleV1(-1)}),
		series("control", prompb.TimeSeries{Labels: labelsV1("a", "1", "a\x00", "2", "a\x01", "3", "zone\x00", "4"), Samples: sampleV1(-1)}),
		series("shared-prefixes", prompb.TimeSeries{Labels: labelsV1("prometheus", "1", "prometheus_replica_x", "2", "prometheus_replicb", "3"), Samples: sampleV1(-1)}),
		series("long-names", prompb.TimeSeries{Labels: labelsV1(strings.Repeat("n", 127), "a", strings.Repeat("n", 128), strings.Repeat("v", 300)), Samples: sampleV1(1)}),
		series("length-127", prompb.TimeSeries{Labels: ofSize(127)}, prompb.TimeSeries{Labels: ofSize(128)}, prompb.TimeSeries{Labels: ofSize(100)}),
		series("length-16383", prompb.TimeSeries{Labels: ofSize(16383)}, prompb.TimeSeries{Labels: ofSize(16384)}),
		{"metadata", marshal(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{plain}, Metadata: []prompb.MetricMetadata{
			{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "Is it up?", Unit: "bool"}, {Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "latency", Help: "…"},
		}})},
	}
	label := message(1, text(1, "job"), text(2, "ledger"))
	return append(
		seeds,
		seed{"label-after-sample", message(1, message(1, text(1, "job"), text(2, "a")), message(2, protowire.AppendVarint([]byte{0x10}, 5)), message(1, text(1, "zone"), text(2, "b")))},
		seed{"value-before-name", message(1, message(1, text(2, "a"), text(1, "job")))},
		seed{"name-twice", message(1, message(1, text(1, "x"), text(2, "y"), text(1, "job"), text(2, "a")))},
		seed{"only-value", message(1, message(1, text(2, "a")), label)},
		seed{"long-varints", join([]byte{0x8a, 0x80, 0x00}, protowire.AppendBytes(nil, join([]byte{0x8a, 0x00, 0x88, 0x80, 0x00, 0x0a, 0x81, 0x00, 'a', 0x12, 0x82, 0x00, 'b', 'c'})))},
		seed{"unknown", join(unknown(), message(1, label, unknown(), message(2, unknown(), []byte{0x10, 1}), message(3, message(1, text(1, "a"), unknown()), unknown()),
			message(4, unknown(), message(11, unknown()))), unknown(), message(1, message(1, text(1, "job"), unknown(), text(2, "a"))), unknown(), message(3, unknown()))},
		seed{"unknown-unsorted", message(1, unknown(), message(1, text(1, "b"), unknown()), message(1, text(1, "a"), unknown()))},
		seed{"value-twice", message(1, label, message(2, protowire.AppendFixed64([]byte{0x09}, value.StaleNaN), protowire.AppendFixed64([]byte{0x09}, 1), []byte{0x10, 9, 0x10, 3}))},
		seed{"unpacked-deltas", message(1, label, message(4, []byte{12 << 3, 1, 12 << 3, 2, 12<<3 | 2, 2, 1, 1, 13<<3 | 1, 0, 0, 0, 0, 0, 0, 0, 0}))},
		seed{"wrong-type", []byte{0x08, 1}},
		seed{"cut", marshal(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{plain}})[:40]},
		seed{"a-length-of-4-GiB", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0a, 0x00}},
		seed{"a-length-of-2^63", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
		seed{"group", []byte{0x0a, 0x05, 0x0a, 0x03, 0x0b, 0x08, 0x01}},
		seed{"the-other-version", seedsV2()[1].body},
	)
}

// plainV2 is a 2.0 request with everything in it.
func plainV2() *writev2.Request {
	table := writev2.NewSymbolTable()
	refs := func(pairs ...string) (out []uint32) {
		for _, s := range pairs {
			out = append(out, table.Symbolize(s))
		}
		return out
	}
	req := &writev2.Request{Timeseries: []writev2.TimeSeries{
		{
			LabelsRefs: refs("__name__", "up", "instance", "a:1", "job", "ledger"), Samples: []writev2.Sample{{Value: 1, Timestamp: 1758000000000, StartTimestamp: 1757000000000}},
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: table.Symbolize("Is it up?"), UnitRef: table.Symbolize("bool")},
		},
		{
			LabelsRefs: refs("__name__", "latency_bucket", "job", "ledger", "le", "0.1"), Samples: []writev2.Sample{{Value: staleNaN, Timestamp: 1758000000001}, {Value: 2, Timestamp: 1758000000002}},
			Exemplars: []writev2.Exemplar{{LabelsRefs: refs("trace_id", "abc"), Value: 3, Timestamp: 4}, {}},
			Metadata:  writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: table.Symbolize("How long.")},
		},
		{
			LabelsRefs: refs("__name__", "sizes", "job", "ledger"), Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM},
			Histograms: []writev2.Histogram{
				{
					Count: &writev2.Histogram_CountInt{CountInt: 7}, Sum: 18.4, Schema: -53, Timestamp: 1758000000001, StartTimestamp: 99,
					PositiveSpans: []writev2.BucketSpan{{Offset: 0, Length: 2}}, PositiveDeltas: []int64{1, 2}, CustomValues: []float64{0.1, 1, 10},
				},
				{Sum: staleNaN, Timestamp: 1758000000003},
			},
		},
	}}
	req.Symbols = table.Symbols()
	return req
}

func seedsV2() []seed {
	series := func(name string, symbols []string, refs ...[]uint32) seed {
		req := &writev2.Request{Symbols: symbols}
		for _, r := range refs {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: r, Samples: []writev2.Sample{{Value: 1, Timestamp: 1758000000000}}})
		}
		return seed{name, marshal(req)}
	}
	symbols := []string{"", "__name__", "up", "job", "ledger", "tenant", "zone", "A", "prometheus_replica"}
	wide := []string{""}
	for i := range 200 {
		wide = append(wide, strings.Repeat(string(rune('a'+i%26)), 1+i/26))
	}
	symbol := func(list ...string) (all []byte) {
		for _, s := range list {
			all = append(all, text(4, s)...)
		}
		return all
	}
	return []seed{
		{"empty", nil},
		{"plain", marshal(plainV2())},
		series("two", symbols, []uint32{1, 2, 3, 4}, []uint32{1, 2, 3, 4}),
		series("unsorted", symbols, []uint32{3, 4, 1, 2}, []uint32{6, 2, 3, 4}),
		series("duplicate", symbols, []uint32{1, 2, 1, 4}, []uint32{1, 2}),
		series("duplicate-apart", symbols, []uint32{3, 4, 1, 2, 3, 2}),
		series("duplicate-symbols", []string{"", "a", "b", "a", "b", "a"}, []uint32{1, 1, 2, 2}, []uint32{3, 1, 4, 2}, []uint32{1, 1, 5, 2}),
		series("there-already", symbols, []uint32{7, 2, 8, 2, 5, 2, 6, 2}, []uint32{5, 2}, []uint32{8, 8}),
		series("empty-series", symbols, nil, []uint32{1, 2}, []uint32{0, 2}, []uint32{3, 0}),
		series("odd", symbols, []uint32{1, 2, 3}),
		series("out-of-range", symbols, []uint32{1, 9}),
		series("no-empty-symbol", symbols[1:], []uint32{1, 2}),
		series("no-symbols", nil, nil),
		series("symbols-only", symbols),
		series("wide", wide, []uint32{1, 150, 2, 170, 3, 128, 200, 5}, []uint32{127, 128}),
		series("long-refs", wide, repeatRefs(60), repeatRefs(30), repeatRefs(31), repeatRefs(32)),
		series("multibyte", []string{"", "héllo", "wörld", "ключ", "名前", strings.Repeat("ü", 70), strings.Repeat("n", 300)}, []uint32{1, 2, 3, 4}, []uint32{5, 6, 6, 5}),
		{"unpacked", join(symbol(symbols...), message(5, []byte{0x08, 1, 0x08, 2, 0x0a, 2, 3, 4}, message(2, []byte{0x10, 7}), []byte{0x08, 6, 0x08, 2}))},
		{"two-packed", join(symbol(symbols...), message(5, []byte{0x0a, 3, 1, 2, 3, 0x0a, 1, 4}))},
		{"refs-last", join(symbol(symbols...), message(5, message(5, []byte{8, 2}), message(2, []byte{0x10, 7}), []byte{0x0a, 2, 1, 2}))},
		{"long-varints", join(symbol(symbols...), []byte{0xaa, 0x80, 0x00, 0x8a, 0x00, 0x8a, 0x00, 0x86, 0x00, 0x81, 0x80, 0x00, 2, 0x83, 0x00})},
		{"long-tag-of-refs", join(symbol(symbols...), message(5, []byte{0x8a, 0x00, 2, 1, 2}))},
		{"symbols-last", join(message(5, []byte{0x0a, 2, 1, 2}), symbol("", "a"), message(5, []byte{0x0a, 2, 2, 2}), unknown(), symbol("b"), unknown())},
		{"unknown", join(unknown(), symbol("", "a"), unknown(), symbol("b"), message(5, unknown(), []byte{0x0a, 2, 2, 2}, unknown(), message(2, unknown()), message(3, unknown()),
			message(4, unknown(), []byte{0x08, 1, 0x08, 2}), message(5, unknown(), []byte{0x18, 1, 0x20, 2})), unknown())},
		{"metadata-twice", join(symbol("", "a", "b"), message(5, []byte{0x0a, 2, 1, 2}, message(5, []byte{8, 3, 0x18, 1}), message(5, []byte{0x20, 2})))},
		{"metadata-out-of-range", join(symbol("", "a", "b"), message(5, []byte{0x0a, 2, 1, 2}, message(5, []byte{8, 3, 0x18, 3})))},
		{"exemplar-odd", join(symbol("", "a", "b"), message(5, []byte{0x0a, 2, 1, 2}, message(4, []byte{8, 2})))},
		{"cut", marshal(plainV2())[:60]},
		{"a-packed-length-beyond", join(symbol("", "a"), message(5, []byte{0x0a, 3, 1, 1}))},
		{"the-other-version", marshal(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: labelsV1("a", "b")}}})},
	}
}

// repeatRefs are references to n names among wide ones in their order, with their values.
func repeatRefs(n uint32) (refs []uint32) {
	for i := range n {
		refs = append(refs, 1+i%26, 130)
	}
	return refs
}
