package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringside-project/ringside/relay/wire"
)

// FuzzTranscode takes a body as either version and renders it as the other one.
func FuzzTranscode(f *testing.F) {
	for _, s := range append(seedsV1(), seedsV2()...) {
		f.Add(s.body)
	}
	var b wire.Batch
	f.Fuzz(func(t *testing.T, body []byte) {
		if req, err := acceptV2(body); err == nil && b.Parse(wire.V2, body, fuzzNames) == nil {
			got := new(prompb.WriteRequest)
			if err := got.Unmarshal(b.Render(nil, wire.V1, fuzzEdit, nil)); err != nil {
				t.Fatal(err)
			}
			same(t, got, downgraded(t, req))
		}
		if req, err := acceptV1(body); err == nil && b.Parse(wire.V1, body, fuzzNames) == nil {
			out := b.Render(nil, wire.V2, fuzzEdit, nil)
			got, err := acceptV2(out)
			if err != nil {
				t.Fatalf("rendered %x: %v", out, err)
			}
			sorted := slices.Clone(got.Symbols)
			slices.Sort(sorted)
			if len(slices.Compact(sorted)) != len(got.Symbols) {
				t.Errorf("a symbol twice in %q", got.Symbols)
			}
			sameV2(t, resolve(t, got), upgraded(req))
		}
	})
}

// downgraded is what a 2.0 request is to become.
func downgraded(t *testing.T, req *writev2.Request) *prompb.WriteRequest {
	out := new(prompb.WriteRequest)
	for _, s := range resolve(t, req).Timeseries {
		if !valid(s.labels) {
			continue
		}
		var ts prompb.TimeSeries
		for _, l := range edit(s.labels) {
			ts.Labels = append(ts.Labels, prompb.Label{Name: l.name, Value: l.value})
		}
		for _, sample := range s.ts.Samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: sample.Value, Timestamp: sample.Timestamp})
		}
		for i, e := range s.ts.Exemplars {
			exemplar := prompb.Exemplar{Value: e.Value, Timestamp: e.Timestamp}
			for _, l := range s.exemplars[i] {
				exemplar.Labels = append(exemplar.Labels, prompb.Label{Name: l.name, Value: l.value})
			}
			ts.Exemplars = append(ts.Exemplars, exemplar)
		}
		for _, h := range s.ts.Histograms {
			h.StartTimestamp, h.XXX_unrecognized = 0, nil
			var histogram prompb.Histogram
			if err := histogram.Unmarshal(marshal(&h)); err != nil { // their fields have the same numbers
				t.Fatal(err)
			}
			ts.Histograms = append(ts.Histograms, histogram)
		}
		out.Timeseries = append(out.Timeseries, ts)
		addMetadata(out, s)
	}
	return out
}

// addMetadata adds what a 2.0 series says of its metric family, unless the family has some.
func addMetadata(out *prompb.WriteRequest, s series2) {
	m := prompb.MetricMetadata{
		Type: prompb.MetricMetadata_MetricType(s.ts.Metadata.Type), MetricFamilyName: familyName(s.labels, s.ts.Metadata.Type), Help: s.help, Unit: s.unit,
	}
	if m.MetricFamilyName == "" || m.Type == 0 && m.Help == "" && m.Unit == "" ||
		slices.ContainsFunc(out.Metadata, func(have prompb.MetricMetadata) bool { return have.MetricFamilyName == m.MetricFamilyName }) {
		return
	}
	out.Metadata = append(out.Metadata, m)
}

func familyName(list []pair, kind writev2.Metadata_MetricType) string {
	name := metricName(list)
	switch kind {
	case writev2.Metadata_METRIC_TYPE_HISTOGRAM, writev2.Metadata_METRIC_TYPE_GAUGEHISTOGRAM, writev2.Metadata_METRIC_TYPE_SUMMARY:
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if short, ok := strings.CutSuffix(name, suffix); ok && short != "" {
				return short
			}
		}
	}
	return name
}

func metricName(list []pair) string {
	i := slices.IndexFunc(list, func(l pair) bool { return l.name == "__name__" })
	if i < 0 {
		return ""
	}
	return list[i].value
}

// upgraded is what a 1.0 request is to become.
func upgraded(req *prompb.WriteRequest) *request2 {
	out := new(request2)
	for _, ts := range req.Timeseries {
		s := series2{labels: pairsV1(ts.Labels)}
		if !valid(s.labels) {
			continue
		}
		s.labels = edit(s.labels)
		for i := range s.labels {
			s.labels[i].rest = ""
		}
		for _, sample := range ts.Samples {
			s.ts.Samples = append(s.ts.Samples, writev2.Sample{Value: sample.Value, Timestamp: sample.Timestamp})
		}
		for _, e := range ts.Exemplars {
			list := pairsV1(e.Labels)
			for i := range list {
				list[i].rest = ""
			}
			s.exemplars = append(s.exemplars, list)
			s.ts.Exemplars = append(s.ts.Exemplars, writev2.Exemplar{Value: e.Value, Timestamp: e.Timestamp})
		}
		for _, h := range ts.Histograms {
			h.XXX_unrecognized = nil
			var histogram writev2.Histogram
			if err := histogram.Unmarshal(marshal(&h)); err != nil {
				panic(err)
			}
			s.ts.Histograms = append(s.ts.Histograms, histogram)
		}
		if m := metadataOf(req, metricName(s.labels)); m != nil {
			s.ts.Metadata.Type, s.help, s.unit = writev2.Metadata_MetricType(m.Type), m.Help, m.Unit
		}
		out.Timeseries = append(out.Timeseries, s)
	}
	return out
}

// metadataOf is the metadata of the family of a metric, or nil.
func metadataOf(req *prompb.WriteRequest, name string) *prompb.MetricMetadata {
	for _, family := range []bool{false, true} {
		for i, m := range req.Metadata {
			if m.MetricFamilyName == name && !family {
				return &req.Metadata[i]
			}
			if !family {
				continue
			}
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				first := slices.IndexFunc(req.Metadata, func(o prompb.MetricMetadata) bool { return o.MetricFamilyName == m.MetricFamilyName })
				composed := m.Type == prompb.MetricMetadata_HISTOGRAM || m.Type == prompb.MetricMetadata_GAUGEHISTOGRAM || m.Type == prompb.MetricMetadata_SUMMARY
				if first == i && composed && m.MetricFamilyName != "" && name == m.MetricFamilyName+suffix {
					return &req.Metadata[i]
				}
			}
		}
	}
	return nil
}

// TestTranscodeThere shows a 2.0 request with everything in it as 1.0.
func TestTranscodeThere(t *testing.T) {
	var b wire.Batch
	if err := b.Parse(wire.V2, marshal(plainV2()), wire.NewNames("replica")); err != nil {
		t.Fatal(err)
	}
	req := new(prompb.WriteRequest)
	if err := req.Unmarshal(b.Render(nil, wire.V1, nil, nil)); err != nil {
		t.Fatal(err)
	}
	want := &prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{Labels: labelsV1("__name__", "up", "instance", "a:1", "job", "ledger"), Samples: sampleV1(1)},
			{
				Labels:    labelsV1("__name__", "latency_bucket", "job", "ledger", "le", "0.1"),
				Samples:   []prompb.Sample{{Value: staleNaN, Timestamp: 1758000000001}, {Value: 2, Timestamp: 1758000000002}},
				Exemplars: []prompb.Exemplar{{Labels: labelsV1("trace_id", "abc"), Value: 3, Timestamp: 4}, {}},
			},
			{
				Labels: labelsV1("__name__", "sizes", "job", "ledger"),
				Histograms: []prompb.Histogram{
					{
						Count: &prompb.Histogram_CountInt{CountInt: 7}, Sum: 18.4, Schema: -53, Timestamp: 1758000000001,
						PositiveSpans: []prompb.BucketSpan{{Length: 2}}, PositiveDeltas: []int64{1, 2}, CustomValues: []float64{0.1, 1, 10},
					},
					{Sum: staleNaN, Timestamp: 1758000000003},
				},
			},
		},
		Metadata: []prompb.MetricMetadata{
			{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "Is it up?", Unit: "bool"},
			{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "latency", Help: "How long."},
			{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "sizes"},
		},
	}
	if got := marshal(req); !bytes.Equal(got, marshal(want)) {
		t.Errorf("got  %v\nwant %v", req, want)
	}
}
