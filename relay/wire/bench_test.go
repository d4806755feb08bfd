package wire_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringside-project/ringside/relay/wire"
)

const benchSeries = 2000

// perTarget is how many series of a target follow each other: a scrape is written as it comes.
const perTarget = 100

// benchLabels are those of the nth series, in 395 bytes with its sample: histograms of services with several pods each,
// whose series have all but three labels in common.
func benchLabels(n int) labels.Labels {
	of := rand.New(rand.NewPCG(7, uint64(n/perTarget)))
	service := []string{"checkout", "inventory", "recommendation", "payment-gateway"}[n/perTarget%4]
	address := fmt.Sprintf("10.%d.%d.%d", of.IntN(250), of.IntN(250), 1+of.IntN(250))
	return labels.FromStrings(
		"__name__", []string{
			"http_server_request_duration_seconds_bucket", "http_server_request_body_size_bytes_bucket",
			"rpc_client_duration_seconds_bucket", "db_client_operation_duration_seconds_bucket",
		}[n/25%4],
		"cluster", "prod-eu-central-1", "container", service, "endpoint", "http-metrics", "instance", address+":8080",
		"job", "shop/"+service+"-metrics",
		"le", []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}[n%10],
		"method", []string{"GET", "POST"}[n/5%2], "namespace", "production",
		"node", "ip-"+strings.ReplaceAll(address, ".", "-")+".eu-central-1.compute.internal",
		"pod", fmt.Sprintf("%s-%08x-%05x", service, of.Uint32(), of.Uint32N(1<<20)),
		"route", []string{"/api/v1/orders/{id}/shipments", "/api/v1/carts/{id}/items", "/healthz"}[n/10%3],
	)
}

// benchSample is one of a scrape: half of the values are whole numbers, as of counters.
func benchSample(n int) (float64, int64) {
	of := rand.New(rand.NewPCG(11, uint64(n)))
	value := float64(of.IntN(1_000_000))
	if n%2 == 1 {
		value *= of.Float64()
	}
	return value, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + int64(n/perTarget*137)
}

func benchV1() []byte {
	req := new(prompb.WriteRequest)
	for n := range benchSeries {
		v, at := benchSample(n)
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(benchLabels(n), nil), Samples: []prompb.Sample{{Value: v, Timestamp: at}}})
	}
	return marshal(req)
}

func benchV2() []byte {
	table, req := writev2.NewSymbolTable(), new(writev2.Request)
	for n := range benchSeries {
		v, at := benchSample(n)
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: table.SymbolizeLabels(benchLabels(n), nil), Samples: []writev2.Sample{{Value: v, Timestamp: at}},
		})
	}
	req.Symbols = table.Symbols()
	return marshal(req)
}

// rig is what a benchmark sends through the relay's path in memory.
type rig struct {
	batch    wire.Batch
	names    *wire.Names
	edit     *wire.Edit
	packed   []byte // a body, compressed
	body     []byte
	out      []byte
	repacked []byte
}

func newRig(body []byte) *rig {
	names := wire.NewNames("prometheus_replica")
	return &rig{
		names: names, edit: wire.NewEdit(names, []labels.Label{{Name: "prometheus_replica", Value: "prometheus-0"}}, nil),
		packed: s2.EncodeSnappy(nil, body), body: make([]byte, len(body)), repacked: make([]byte, s2.MaxEncodedLen(2*len(body))),
	}
}

func (r *rig) decode(b *testing.B) {
	var err error
	if r.body, err = s2.Decode(r.body[:cap(r.body)], r.packed); err != nil {
		b.Fatal(err)
	}
}

func (r *rig) parse(b *testing.B, msg wire.Message) {
	if err := r.batch.Parse(msg, r.body, r.names); err != nil {
		b.Fatal(err)
	}
}

// perSample measures each of fs, in turns, so that what else the machine does slows all alike: in nanoseconds for each
// sample of a body.
func perSample(b *testing.B, fs ...func()) []float64 {
	took := make([]time.Duration, len(fs))
	for range b.N {
		for i, f := range fs {
			start := time.Now()
			f()
			took[i] += time.Since(start)
		}
	}
	all := make([]float64, len(fs))
	for i, d := range took {
		all[i] = float64(d.Nanoseconds()) / float64(b.N) / benchSeries
	}
	return all
}

// benchmarkSplice measures decompress, parse, add a label, compress, and as its yardstick decompress and compress alone.
func benchmarkSplice(b *testing.B, msg wire.Message, body []byte) {
	r := newRig(body)
	yardstick := func() {
		r.decode(b)
		r.repacked = s2.EncodeSnappy(r.repacked[:cap(r.repacked)], r.body)
	}
	whole := func() {
		r.decode(b)
		r.parse(b, msg)
		r.out = r.batch.Render(r.out[:0], msg, r.edit, nil)
		r.repacked = s2.EncodeSnappy(r.repacked[:cap(r.repacked)], r.out)
	}
	splice := func() {
		r.parse(b, msg)
		r.out = r.batch.Render(r.out[:0], msg, r.edit, nil)
	}
	whole()
	b.ReportAllocs()
	b.ResetTimer()
	took := perSample(b, whole, yardstick, splice)
	b.ReportMetric(1e9/took[0], "samples/s")
	b.ReportMetric(100*took[1]/took[0], "%_of_s2_alone")
	b.ReportMetric(took[1], "s2_ns/sample")
	b.ReportMetric(took[2], "splice_ns/sample")
	b.ReportMetric(float64(len(body))/benchSeries, "bytes/sample")
}

func BenchmarkSpliceV1(b *testing.B) { benchmarkSplice(b, wire.V1, benchV1()) }

func BenchmarkSpliceV2(b *testing.B) { benchmarkSplice(b, wire.V2, benchV2()) }

func BenchmarkParse(b *testing.B) {
	for _, tc := range []struct {
		msg  wire.Message
		body []byte
	}{{wire.V1, benchV1()}, {wire.V2, benchV2()}} {
		b.Run(string(tc.msg), func(b *testing.B) {
			r := newRig(tc.body)
			r.decode(b)
			r.parse(b, tc.msg)
			b.ReportAllocs()
			b.ResetTimer()
			b.ReportMetric(perSample(b, func() { r.parse(b, tc.msg) })[0], "ns/sample")
		})
	}
}

// BenchmarkRouted renders a request in three parts, as for the endpoints of a hashring, and makes the key of each series.
func BenchmarkRouted(b *testing.B) {
	for _, tc := range []struct {
		msg  wire.Message
		body []byte
	}{{wire.V1, benchV1()}, {wire.V2, benchV2()}} {
		r := newRig(tc.body)
		r.decode(b)
		r.parse(b, tc.msg)
		var rows [3][]wire.Row
		for i := range int32(benchSeries) {
			k := i * 7919 % 1009 % 3
			rows[k] = append(rows[k], wire.Row{Series: i})
		}
		render := func() {
			for _, part := range rows {
				r.out = r.batch.Render(r.out[:0], tc.msg, r.edit, part)
			}
		}
		var key []byte
		keys := func() {
			for i := range benchSeries {
				key = r.batch.AppendKey(key[:0], i, r.edit)
			}
		}
		b.Run("render/"+string(tc.msg), func(b *testing.B) {
			render()
			b.ReportAllocs()
			b.ResetTimer()
			b.ReportMetric(perSample(b, render)[0], "ns/sample")
		})
		b.Run("key/"+string(tc.msg), func(b *testing.B) {
			keys()
			b.ReportAllocs()
			b.ResetTimer()
			b.ReportMetric(perSample(b, keys)[0], "ns/sample")
		})
	}
}

func BenchmarkTranscode(b *testing.B) {
	for _, tc := range []struct {
		from, to wire.Message
		body     []byte
	}{{wire.V1, wire.V2, benchV1()}, {wire.V2, wire.V1, benchV2()}} {
		b.Run("to "+string(tc.to), func(b *testing.B) {
			r := newRig(tc.body)
			r.decode(b)
			r.parse(b, tc.from)
			render := func() { r.out = r.batch.Render(r.out[:0], tc.to, r.edit, nil) }
			render()
			b.ReportAllocs()
			b.ResetTimer()
			b.ReportMetric(perSample(b, render)[0], "ns/sample")
		})
	}
}
