package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringside-project/ringside/relay/wire"
)

// The edit of the fuzz tests: one label in the middle, one after all usual names and one before, and one that goes.
var (
	fuzzAdd    = []labels.Label{{Name: "prometheus_replica", Value: "prometheus-0"}, {Name: "zone", Value: strings.Repeat("ü", 70)}, {Name: "A", Value: "1"}}
	fuzzRemove = []string{"tenant"}
	fuzzNames  = wire.NewNames("prometheus_replica", "zone", "A", "tenant", "le")
	fuzzEdit   = wire.NewEdit(fuzzNames, fuzzAdd, fuzzRemove)
)

// pair is a label with what else its field holds.
type pair struct{ name, value, rest string }

// valid sorts the labels of a series and says whether a receiver would take them.
func valid(list []pair) bool {
	slices.SortStableFunc(list, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	for i, l := range list {
		if l.name == "" || i > 0 && l.name == list[i-1].name {
			return false
		}
	}
	return len(list) > 0
}

// edit does to sorted labels what fuzzEdit does.
func edit(list []pair) []pair {
	list = slices.DeleteFunc(list, func(l pair) bool { return slices.Contains(fuzzRemove, l.name) })
	for _, l := range fuzzAdd {
		if !slices.ContainsFunc(list, func(have pair) bool { return have.name == l.Name }) {
			list = append(list, pair{l.Name, l.Value, ""})
		}
	}
	valid(list)
	return list
}

// parsed is what Parse makes of body, twice, since the second time it uses its memory again.
func parsed(t *testing.T, b *wire.Batch, msg wire.Message, body []byte) error {
	before := bytes.Clone(body)
	err := b.Parse(msg, body, fuzzNames)
	again := b.Parse(msg, body, fuzzNames)
	if (err == nil) != (again == nil) {
		t.Fatalf("first %v, then %v", err, again)
	}
	if err != nil && b.Len()+len(b.Stale())+len(b.Invalid()) > 0 {
		t.Fatal("the batch is not empty after an error")
	}
	if !bytes.Equal(before, body) {
		t.Fatal("the body was changed")
	}
	return err
}

// checkAccepted compares Parse's error with that of the reference.
func checkAccepted(t *testing.T, err, reference error) bool {
	t.Helper()
	if (err == nil) != (reference == nil) && !errors.Is(err, wire.ErrTooMany) {
		t.Fatalf("Parse: %v, reference: %v", err, reference)
	}
	return err == nil && reference == nil
}

func FuzzSpliceV1(f *testing.F) {
	for _, s := range seedsV1() {
		f.Add(s.body)
	}
	var b wire.Batch
	f.Fuzz(func(t *testing.T, body []byte) {
		err := parsed(t, &b, wire.V1, body)
		req, reference := acceptV1(body)
		if !checkAccepted(t, err, reference) {
			return
		}
		checkFacts(t, &b, factsV1(req))
		checkOneAdded(t, wire.V1, body)
		want := editedV1(req)
		got := new(prompb.WriteRequest)
		out := b.Render([]byte("before"), wire.V1, fuzzEdit, nil)
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatal("dst was changed")
		}
		if err := got.Unmarshal(out[len("before"):]); err != nil {
			t.Fatalf("rendered %x: %v", out, err)
		}
		same(t, got, want)
		checkRows(t, &b, wire.V1, out[len("before"):])
		checkKeys(t, &b, want)
		if as := b.Render(nil, wire.V1, nil, nil); sortedV1(req) && bytes.Equal(marshal(req), body) && !bytes.Equal(as, body) {
			t.Errorf("with no edit %x, want %x", as, body)
		}
	})
}

func FuzzSpliceV2(f *testing.F) {
	for _, s := range seedsV2() {
		f.Add(s.body)
	}
	var b wire.Batch
	f.Fuzz(func(t *testing.T, body []byte) {
		err := parsed(t, &b, wire.V2, body)
		req, reference := acceptV2(body)
		if !checkAccepted(t, err, reference) {
			return
		}
		checkFacts(t, &b, factsV2(req))
		checkOneAdded(t, wire.V2, body)
		want := resolve(t, req)
		want.Timeseries = slices.DeleteFunc(want.Timeseries, func(ts series2) bool { return !valid(ts.labels) })
		for i := range want.Timeseries {
			want.Timeseries[i].labels = edit(want.Timeseries[i].labels)
		}
		out := b.Render([]byte("before"), wire.V2, fuzzEdit, nil)
		got := new(writev2.Request)
		if err := got.Unmarshal(out[len("before"):]); err != nil {
			t.Fatalf("rendered %x: %v", out, err)
		}
		sameV2(t, resolve(t, got), want)
		if len(got.Symbols) < len(req.Symbols) || !slices.Equal(got.Symbols[:len(req.Symbols)], req.Symbols) {
			t.Errorf("symbols %q do not begin with %q", got.Symbols, req.Symbols)
		}
		checkRows(t, &b, wire.V2, out[len("before"):])
	})
}

// facts are what a batch says of a request.
type facts struct {
	counts  []wire.Counts
	totals  wire.Counts
	newest  int64
	stale   []int
	invalid []int
}

func (f *facts) add(c wire.Counts) {
	f.counts = append(f.counts, c)
	f.totals = f.totals.Add(c)
}

// point takes the value and time of a sample or histogram of the next series.
func (f *facts) point(v float64, at int64) {
	f.newest = max(f.newest, at)
	if i := len(f.counts); value.IsStaleNaN(v) && !slices.Contains(f.stale, i) {
		f.stale = append(f.stale, i)
	}
}

func factsV1(req *prompb.WriteRequest) (f facts) {
	for i, ts := range req.Timeseries {
		for _, s := range ts.Samples {
			f.point(s.Value, s.Timestamp)
		}
		for _, h := range ts.Histograms {
			f.point(h.Sum, h.Timestamp)
		}
		f.add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
		if !valid(pairsV1(ts.Labels)) {
			f.invalid = append(f.invalid, i)
		}
	}
	return f
}

func factsV2(req *writev2.Request) (f facts) {
	for i, ts := range req.Timeseries {
		for _, s := range ts.Samples {
			f.point(s.Value, s.Timestamp)
		}
		for _, h := range ts.Histograms {
			f.point(h.Sum, h.Timestamp)
		}
		f.add(wire.Counts{Samples: len(ts.Samples), Histograms: len(ts.Histograms), Exemplars: len(ts.Exemplars)})
		if !valid(pairsV2(ts.LabelsRefs, req.Symbols)) {
			f.invalid = append(f.invalid, i)
		}
	}
	return f
}

func checkFacts(t *testing.T, b *wire.Batch, want facts) {
	t.Helper()
	got := facts{totals: b.Totals(), newest: b.Newest(), stale: b.Stale()}
	for i := range b.Len() {
		got.counts = append(got.counts, b.Counts(i))
	}
	for _, invalid := range b.Invalid() {
		got.invalid = append(got.invalid, invalid.Series)
	}
	if !slices.Equal(got.counts, want.counts) || got.totals != want.totals || got.newest != want.newest ||
		!slices.Equal(got.stale, want.stale) || !slices.Equal(got.invalid, want.invalid) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func pairsV1(list []prompb.Label) (out []pair) {
	for _, l := range list {
		out = append(out, pair{l.Name, l.Value, string(l.XXX_unrecognized)})
	}
	return out
}

func pairsV2(refs []uint32, symbols []string) (out []pair) {
	for ; len(refs) > 1; refs = refs[2:] {
		out = append(out, pair{symbols[refs[0]], symbols[refs[1]], ""})
	}
	return out
}

// sortedV1 says whether all series are valid and sorted.
func sortedV1(req *prompb.WriteRequest) bool {
	return !slices.ContainsFunc(req.Timeseries, func(ts prompb.TimeSeries) bool {
		list := pairsV1(ts.Labels)
		return !slices.IsSortedFunc(list, func(a, b pair) int { return strings.Compare(a.name, b.name) }) || !valid(list)
	})
}

// editedV1 is what a request is to become.
func editedV1(req *prompb.WriteRequest) *prompb.WriteRequest {
	out := *req
	out.Timeseries = nil
	for _, ts := range req.Timeseries {
		list := pairsV1(ts.Labels)
		if !valid(list) {
			continue
		}
		ts.Labels = nil
		for _, l := range edit(list) {
			ts.Labels = append(ts.Labels, prompb.Label{Name: l.name, Value: l.value, XXX_unrecognized: []byte(l.rest)})
		}
		out.Timeseries = append(out.Timeseries, ts)
	}
	return &out
}

// same compares messages by their bytes.
func same(t *testing.T, got, want interface{ Marshal() ([]byte, error) }) {
	t.Helper()
	if a, b := marshal(got), marshal(want); !bytes.Equal(a, b) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// series2 is a 2.0 series without references: they are resolved, and zero in ts.
type series2 struct {
	labels     []pair
	exemplars  [][]pair
	help, unit string
	ts         writev2.TimeSeries
}

type request2 struct {
	Timeseries []series2
	rest       []byte
}

func resolve(t *testing.T, req *writev2.Request) *request2 {
	t.Helper()
	if len(req.Timeseries) > 0 && (len(req.Symbols) == 0 || req.Symbols[0] != "") {
		t.Fatalf("symbols are %q", req.Symbols)
	}
	out := &request2{rest: req.XXX_unrecognized}
	for _, ts := range req.Timeseries {
		s := series2{labels: pairsV2(ts.LabelsRefs, req.Symbols), help: req.Symbols[ts.Metadata.HelpRef], unit: req.Symbols[ts.Metadata.UnitRef]}
		ts.LabelsRefs, ts.Exemplars = nil, slices.Clone(ts.Exemplars)
		ts.Metadata.HelpRef, ts.Metadata.UnitRef = 0, 0
		for i, e := range ts.Exemplars {
			s.exemplars = append(s.exemplars, pairsV2(e.LabelsRefs, req.Symbols))
			ts.Exemplars[i].LabelsRefs = nil
		}
		s.ts = ts
		out.Timeseries = append(out.Timeseries, s)
	}
	return out
}

func sameV2(t *testing.T, got, want *request2) {
	t.Helper()
	if !bytes.Equal(got.rest, want.rest) || len(got.Timeseries) != len(want.Timeseries) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	for i, g := range got.Timeseries {
		w := want.Timeseries[i]
		if !slices.Equal(g.labels, w.labels) || !slices.EqualFunc(g.exemplars, w.exemplars, slices.Equal) || g.help != w.help || g.unit != w.unit {
			t.Errorf("series %d: got  %+v\nwant %+v", i, g, w)
		}
		same(t, &g.ts, &w.ts)
	}
}

// checkRows renders all valid series as rows: edited, replaced by the same labels, without stale markers, and in reverse.
// all is what Render made of them without rows.
func checkRows(t *testing.T, b *wire.Batch, msg wire.Message, all []byte) {
	t.Helper()
	rows, replaced, fresh := []wire.Row{}, []wire.Row{}, []wire.Row{}
	sb := labels.NewScratchBuilder(0)
	for i := range b.Len() {
		if !slices.ContainsFunc(b.Invalid(), func(v wire.Invalid) bool { return v.Series == i }) {
			rows = append(rows, wire.Row{Series: int32(i)})
			fresh = append(fresh, wire.Row{Series: int32(i), NoStale: true})
			replaced = append(replaced, wire.Row{Series: int32(i), Replaced: true, Labels: b.Labels(i, fuzzEdit, &sb)})
		}
	}
	check := func(what string, e *wire.Edit, rows []wire.Row, want []string, v view) {
		t.Helper()
		if got := semantics(t, msg, b.Render(nil, msg, e, rows), v); !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", what, got, want)
		}
	}
	check("rows", fuzzEdit, rows, semantics(t, msg, all, view{}), view{})
	check("replaced", nil, replaced, semantics(t, msg, all, view{bare: true}), view{bare: true})
	check("fresh", fuzzEdit, fresh, semantics(t, msg, all, view{fresh: true}), view{})
	slices.Reverse(rows)
	want := semantics(t, msg, all, view{})
	slices.Reverse(want[:len(rows)])
	check("reversed", fuzzEdit, rows, want, view{})
}

// view is what of a body is left out.
type view struct {
	bare  bool // unknown fields in labels, which replaced labels cannot keep
	fresh bool // stale markers
}

// semantics is what a body says: a text for each series and one for the rest.
func semantics(t *testing.T, msg wire.Message, body []byte, v view) (out []string) {
	t.Helper()
	if msg == wire.V1 {
		req := new(prompb.WriteRequest)
		if err := req.Unmarshal(body); err != nil {
			t.Fatalf("rendered %x: %v", body, err)
		}
		for _, ts := range req.Timeseries {
			for i := range ts.Labels {
				if v.bare {
					ts.Labels[i].XXX_unrecognized = nil
				}
			}
			if v.fresh {
				ts.Samples = slices.DeleteFunc(ts.Samples, func(s prompb.Sample) bool { return value.IsStaleNaN(s.Value) })
				ts.Histograms = slices.DeleteFunc(ts.Histograms, func(h prompb.Histogram) bool { return value.IsStaleNaN(h.Sum) })
			}
			out = append(out, string(marshal(&ts)))
		}
		req.Timeseries = nil
		return append(out, string(marshal(req)))
	}
	req := new(writev2.Request)
	if err := req.Unmarshal(body); err != nil {
		t.Fatalf("rendered %x: %v", body, err)
	}
	resolved := resolve(t, req)
	for _, s := range resolved.Timeseries {
		if v.fresh {
			s.ts.Samples = slices.DeleteFunc(s.ts.Samples, func(s writev2.Sample) bool { return value.IsStaleNaN(s.Value) })
			s.ts.Histograms = slices.DeleteFunc(s.ts.Histograms, func(h writev2.Histogram) bool { return value.IsStaleNaN(h.Sum) })
		}
		text := strings.Builder{}
		for _, list := range append(s.exemplars, s.labels) {
			for _, l := range list {
				text.WriteString(l.name + "\xff" + l.value + "\xff")
			}
		}
		out = append(out, text.String()+s.help+"\xff"+s.unit+"\xff"+string(marshal(&s.ts)))
	}
	return append(out, string(resolved.rest))
}

// checkKeys compares keys, labels and values with those of the series that are to be rendered.
func checkKeys(t *testing.T, b *wire.Batch, want *prompb.WriteRequest) {
	t.Helper()
	sb := labels.NewScratchBuilder(0)
	n := 0
	for i := range b.Len() {
		if slices.ContainsFunc(b.Invalid(), func(v wire.Invalid) bool { return v.Series == i }) {
			_ = b.Labels(i, fuzzEdit, &sb)
			continue
		}
		var key []byte
		for _, l := range want.Timeseries[n].Labels {
			key = append(append(append(append(key, l.Name...), 0xff), l.Value...), 0xff)
		}
		if got := b.AppendKey([]byte("x"), i, fuzzEdit); string(got) != "x"+string(key) {
			t.Errorf("key %q, want %q", got[1:], key)
		}
		lset := b.Labels(i, fuzzEdit, &sb)
		if !labels.Equal(lset, want.Timeseries[n].ToLabels(&sb, nil)) {
			t.Errorf("labels %v, want %v", lset, want.Timeseries[n].Labels)
		}
		n++
		plain := b.Labels(i, nil, &sb)
		for _, name := range []string{"prometheus_replica", "zone", "A", "tenant", "le"} {
			v, ok := b.Value(i, name)
			if ok != plain.Has(name) || string(v) != plain.Get(name) {
				t.Errorf("%s is %q (%v) of %v", name, v, ok, plain)
			}
		}
	}
}
