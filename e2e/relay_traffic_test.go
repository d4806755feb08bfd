package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// The two messages of remote_write, as the version of the protocol and as the
// Content-Type names them.
var messages = map[string]string{
	"1.0": "prometheus.WriteRequest",
	"2.0": "io.prometheus.write.v2.Request",
}

const (
	batchSamples = 2000 // what Prometheus sends at most in one request
	perTarget    = 100  // series of one target that follow each other in a batch
	replicaLabel = "prometheus_replica"
	replica      = "pair-0"
)

// label is a name and a value.
type label struct{ name, value string }

// point is one sample of the traffic: as a histogram its sum, else its value.
type point struct {
	labels    []label
	value     float64
	timestamp int64
	histogram bool
	exemplar  bool
}

// seriesLabels returns the 12 labels of series id, sorted, as a service of many
// replicas has them: a target's series have all but three in common. The last
// of them, series, is the id.
func seriesLabels(id int) []label {
	pod := id / perTarget
	rng := rand.New(rand.NewPCG(7, uint64(pod)))
	service := []string{"checkout", "inventory", "recommendation", "payment-gateway"}[pod%4]
	address := fmt.Sprintf("10.%d.%d.%d", rng.IntN(250), rng.IntN(250), 1+rng.IntN(250))
	return []label{
		{"__name__", []string{
			"http_server_request_duration_seconds_bucket", "http_server_request_body_size_bytes_bucket",
			"rpc_client_duration_seconds_bucket", "db_client_operation_duration_seconds_bucket",
		}[id/25%4]},
		{"cluster", "prod-eu-central-1"},
		{"container", service},
		{"endpoint", "http-metrics"},
		{"instance", address + ":8080"},
		{"job", "shop/" + service + "-metrics"},
		{"le", []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}[id%10]},
		{"namespace", "production"},
		{"node", "ip-" + strings.ReplaceAll(address, ".", "-") + ".eu-central-1.compute.internal"},
		{"pod", fmt.Sprintf("%s-%08x-%05x", service, rng.Uint32(), rng.Uint32N(1<<20))},
		{"route", []string{"/api/v1/orders/{id}", "/api/v1/carts/{id}/items", "/healthz"}[id/10%3]},
		{"series", strconv.Itoa(id)},
	}
}

// scrapedPoints returns one point of each of the n series from first on, all of
// one time, half of them whole numbers as counters are.
func scrapedPoints(first, n int, timestamp int64) []point {
	rng := rand.New(rand.NewPCG(uint64(first), uint64(timestamp)))
	points := make([]point, n)
	for i := range points {
		value := float64(rng.IntN(1_000_000))
		if i%2 == 1 {
			value *= rng.Float64()
		}
		points[i] = point{labels: seriesLabels(first + i), value: value, timestamp: timestamp}
	}
	return points
}

// body returns points as a request of the version "1.0" or "2.0", one series a
// run of points that have equal labels.
func body(version string, points []point) []byte {
	var msg interface{ Marshal() ([]byte, error) }
	if version == "1.0" {
		msg = requestV1(points)
	} else {
		msg = requestV2(points)
	}
	plain, err := msg.Marshal()
	if err != nil {
		panic(err) // to memory
	}
	return plain
}

func compressed(plain []byte) []byte { return s2.EncodeSnappy(nil, plain) }

// runs calls yield with each run of points that have equal labels.
func runs(points []point, yield func([]point)) {
	for len(points) > 0 {
		n := 1
		for n < len(points) && slices.Equal(points[n].labels, points[0].labels) {
			n++
		}
		yield(points[:n])
		points = points[n:]
	}
}

func requestV1(points []point) *prompb.WriteRequest {
	req := new(prompb.WriteRequest)
	runs(points, func(run []point) {
		var ts prompb.TimeSeries
		for _, l := range run[0].labels {
			ts.Labels = append(ts.Labels, prompb.Label{Name: l.name, Value: l.value})
		}
		for _, p := range run {
			if p.exemplar {
				trace := []prompb.Label{{Name: "trace_id", Value: "4bf92f3577b34da6a3ce929d0e0e4736"}}
				ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: trace, Value: p.value, Timestamp: p.timestamp})
			}
			if p.histogram {
				ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(p.timestamp, nativeHistogram(p.value)))
				continue
			}
			ts.Samples = append(ts.Samples, prompb.Sample{Value: p.value, Timestamp: p.timestamp})
		}
		req.Timeseries = append(req.Timeseries, ts)
	})
	return req
}

func requestV2(points []point) *writev2.Request {
	req, symbols := new(writev2.Request), writev2.NewSymbolTable()
	refs := func(labels []label) (refs []uint32) {
		for _, l := range labels {
			refs = append(refs, symbols.Symbolize(l.name), symbols.Symbolize(l.value))
		}
		return refs
	}
	runs(points, func(run []point) {
		ts := writev2.TimeSeries{LabelsRefs: refs(run[0].labels)}
		for _, p := range run {
			if p.exemplar {
				trace := refs([]label{{"trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"}})
				ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{LabelsRefs: trace, Value: p.value, Timestamp: p.timestamp})
			}
			if p.histogram {
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(0, p.timestamp, nativeHistogram(p.value)))
				continue
			}
			ts.Samples = append(ts.Samples, writev2.Sample{Value: p.value, Timestamp: p.timestamp})
		}
		req.Timeseries = append(req.Timeseries, ts)
	})
	req.Symbols = symbols.Symbols()
	return req
}

func nativeHistogram(sum float64) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 3, Count: 12, Sum: sum, ZeroThreshold: 1e-128, ZeroCount: 2,
		PositiveSpans:   []histogram.Span{{Offset: -3, Length: 2}, {Offset: 1, Length: 2}},
		PositiveBuckets: []int64{2, 1, -1, 1},
	}
}
