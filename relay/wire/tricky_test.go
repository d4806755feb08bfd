package wire_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringside-project/ringside/relay/wire"
)

// A name that begins as another one does is not taken for it, however alike
// the series before were.
func TestNamesWithACommonBeginning(t *testing.T) {
	const tenant = "label_app_kubernetes_io_name"
	names := wire.NewNames("cluster", tenant, "prometheus_replica")
	req := new(prompb.WriteRequest)
	add := func(name, value string) {
		lset := labels.FromStrings("__name__", "up", name, value, "zone", strings.Repeat("z", 100))
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(lset, nil), Samples: []prompb.Sample{{Value: 1, Timestamp: 1_700_000_000_000}}})
	}
	for range 3 {
		add(tenant, "team-a")
		add(tenant, "team-a")
		add("label_app_kubernetes_io_part", "secret")
	}
	for range 3 {
		add("prometheus_replicb", "b")
	}
	var b wire.Batch
	if err := b.Parse(wire.V1, marshal(req), names); err != nil {
		t.Fatal(err)
	}
	for i, ts := range req.Timeseries {
		for _, name := range []string{"cluster", tenant, "prometheus_replica"} {
			want, there := "", false
			for _, l := range ts.Labels {
				if l.Name == name {
					want, there = l.Value, true
				}
			}
			if got, ok := b.Value(i, name); ok != there || string(got) != want {
				t.Errorf("series %d: %s is %q, %v; want %q, %v", i, name, got, ok, want, there)
			}
		}
	}
}

// What is malformed, or only written in an unusual way, is seen as such after
// series that are as usual.
func TestUnusualAfterUsual(t *testing.T) {
	sample := func(time uint64) []byte {
		m := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, 7)
		return protowire.AppendBytes([]byte{2<<3 | 2}, protowire.AppendVarint(append(m, 2<<3), time))
	}
	symbols := []byte("\x22\x00\x22\x08__name__\x22\x01x")
	series := func(refs string, after ...byte) []byte {
		m := protowire.AppendBytes([]byte{1<<3 | 2}, []byte(refs))
		return protowire.AppendBytes([]byte{5<<3 | 2}, append(append(m, sample(1_700_000_000_000)...), after...))
	}
	v2 := func(parts ...[]byte) []byte {
		body := symbols
		for range 3 {
			body = append(body[:len(body):len(body)], parts[0]...)
		}
		for _, part := range parts[1:] {
			body = append(body, part...)
		}
		return append(body, parts[0]...)
	}
	unknown := make([]byte, 300)
	long := append(binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, 7), protowire.AppendVarint([]byte{2 << 3}, 1_700_000_000_000)...)
	long = protowire.AppendBytes(append(long, 15<<3|2), unknown[:254-len(long)-3])
	of254 := protowire.AppendBytes([]byte("\x0a\x0d\x0a\x08__name__\x12\x01x\x12"), long)

	for name, tc := range map[string]struct {
		msg  wire.Message
		body []byte
	}{
		"a sample of 254 bytes":          {wire.V1, protowire.AppendBytes([]byte{1<<3 | 2}, append(of254, protowire.AppendBytes([]byte{15<<3 | 2}, unknown)...))},
		"zeros after metadata":           {wire.V2, v2(series("\x01\x02", 0x2a, 0), series("\x01\x02", 0x2a, 0, 0, 0))},
		"zeros instead of metadata":      {wire.V2, v2(series("\x01\x02"), series("\x01\x02", 0, 0))},
		"a long reference":               {wire.V2, v2(series("\x01\x82\x00"))},
		"a long reference out of bounds": {wire.V2, v2(series("\x01\x82\x00"), series("\x01\x82\x01"))},
	} {
		t.Run(name, func(t *testing.T) {
			var b wire.Batch
			names := wire.NewNames("prometheus_replica")
			err := b.Parse(tc.msg, tc.body, names)
			var bad bool
			if tc.msg == wire.V1 {
				bad = new(prompb.WriteRequest).Unmarshal(tc.body) != nil
			} else {
				req := new(writev2.Request)
				bad = req.Unmarshal(tc.body) != nil
				sb := labels.NewScratchBuilder(0)
				for _, ts := range req.Timeseries {
					_, err := ts.ToLabels(&sb, req.Symbols)
					bad = bad || err != nil
				}
			}
			if (err != nil) != bad {
				t.Errorf("Parse: %v; Prometheus finds it malformed: %v", err, bad)
			}
			for i := range b.Len() {
				b.AppendKey(nil, i, nil)
			}
		})
	}
}
