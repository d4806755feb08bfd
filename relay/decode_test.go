package relay

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringside-project/ringside/relay/wire"
)

// What Prometheus's own decoder and this one both accept, both read alike.
// (This one refuses more: labels that Prometheus drops, tags out of range. It
// also accepts more, where the part that is wrong is one that it skips.)

func FuzzDecodeV1(f *testing.F) {
	f.Add(bodyV1())
	f.Add(bodyV2())
	f.Fuzz(func(t *testing.T, body []byte) {
		samples, counts, err := decode(wire.V1, body)
		var req prompb.WriteRequest
		if err != nil || req.Unmarshal(body) != nil {
			return
		}
		var want []Sample
		var wantCounts wire.Counts
		b := labels.NewScratchBuilder(0)
		for _, ts := range req.Timeseries {
			wantCounts = wantCounts.Add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
			for _, s := range ts.Samples {
				want = append(want, Sample{ts.ToLabels(&b, nil), s.Value, s.Timestamp})
			}
		}
		compare(t, samples, want)
		if counts != wantCounts {
			t.Errorf("counted %+v, want %+v", counts, wantCounts)
		}
	})
}

func FuzzDecodeV2(f *testing.F) {
	f.Add(bodyV2())
	f.Add(bodyV1())
	f.Fuzz(func(t *testing.T, body []byte) {
		samples, counts, err := decode(wire.V2, body)
		var req writev2.Request
		if err != nil || req.Unmarshal(body) != nil {
			return
		}
		var want []Sample
		var wantCounts wire.Counts
		b := labels.NewScratchBuilder(0)
		for _, ts := range req.Timeseries {
			lset, err := ts.ToLabels(&b, req.Symbols)
			if err != nil {
				t.Fatalf("accepted what has no labels: %v", err)
			}
			wantCounts = wantCounts.Add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
			for _, s := range ts.Samples {
				want = append(want, Sample{lset, s.Value, s.Timestamp})
			}
		}
		compare(t, samples, want)
		if counts != wantCounts {
			t.Errorf("counted %+v, want %+v", counts, wantCounts)
		}
	})
}

// compare reports a difference between got and those of all that are wanted.
func compare(t *testing.T, got, all []Sample) {
	t.Helper()
	want := slices.DeleteFunc(all, func(s Sample) bool {
		name := s.Labels.Get(model.MetricNameLabel)
		return name != "up" && name != "scrape_samples_post_metric_relabeling"
	})
	same := func(a, b Sample) bool {
		return labels.Equal(a.Labels, b.Labels) && a.Timestamp == b.Timestamp && math.Float64bits(a.Value) == math.Float64bits(b.Value)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got samples\n%v\nwant\n%v", got, want)
	}
}
