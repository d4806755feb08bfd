package relay

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// scraped is what a Prometheus that scrapes three targets writes of them: one
// is up, one down, one gone. The last two series are not for the receiver.
var scraped = []struct {
	lset    labels.Labels
	samples []Sample
}{
	{labels.FromStrings("__name__", "up", "instance", "a:1", "job", "ledger"), []Sample{{Value: 1, Timestamp: 1000}, {Value: 1, Timestamp: 2000}}},
	{labels.FromStrings("__name__", "scrape_samples_post_metric_relabeling", "instance", "a:1", "job", "ledger"), []Sample{{Value: 812, Timestamp: 2000}}},
	{labels.FromStrings("__name__", "up", "instance", "b:1", "job", "ledger"), []Sample{{Value: 0, Timestamp: 2500}}},
	{labels.FromStrings("__name__", "up", "instance", "c:1", "job", "lédger"), []Sample{{Value: math.Float64frombits(value.StaleNaN), Timestamp: -1}}},
	{labels.FromStrings("__name__", "up_to_date", "instance", "a:1", "job", "ledger"), []Sample{{Value: 7, Timestamp: 1000}}},
	{labels.FromStrings("instance", "a:1"), []Sample{{Value: 7, Timestamp: 1000}}},
}

const wantedSeries = 4 // of scraped

// wantSamples are the samples of scraped as the receiver hands them on.
func wantSamples() []Sample {
	var want []Sample
	for _, s := range scraped[:wantedSeries] {
		for _, sample := range s.samples {
			sample.Labels = s.lset
			want = append(want, sample)
		}
	}
	return want
}

// bodyV1 is scraped in remote_write 1.0, with a histogram and an exemplar.
func bodyV1() []byte {
	var req prompb.WriteRequest
	for _, s := range scraped {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(s.lset, nil)}
		for _, sample := range s.samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Value: sample.Value, Timestamp: sample.Timestamp})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	last := &req.Timeseries[len(req.Timeseries)-1]
	last.Exemplars = []prompb.Exemplar{{Value: 1, Timestamp: 1}}
	last.Histograms = []prompb.Histogram{{Sum: 1, Timestamp: 1}, {Sum: 2, Timestamp: 2}}
	req.Metadata = []prompb.MetricMetadata{{MetricFamilyName: "up", Help: "help"}}
	return marshal(&req)
}

// bodyV2 is the same in remote_write 2.0.
func bodyV2() []byte {
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for _, s := range scraped {
		ts := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(s.lset, nil)}
		for _, sample := range s.samples {
			ts.Samples = append(ts.Samples, writev2.Sample{Value: sample.Value, Timestamp: sample.Timestamp, StartTimestamp: 1})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	last := &req.Timeseries[len(req.Timeseries)-1]
	last.Exemplars = []writev2.Exemplar{{Value: 1, Timestamp: 1}}
	last.Histograms = []writev2.Histogram{{Sum: 1, Timestamp: 1}, {Sum: 2, Timestamp: 2}}
	last.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE}
	req.Symbols = symbols.Symbols()
	return marshal(&req)
}

func marshal(msg interface{ Marshal() ([]byte, error) }) []byte {
	b, err := msg.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}
