//go:build unix

package relay

import (
	"fmt"
	"math/bits"
	"strconv"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// What receivers will not have of a series, ever.
const (
	poisonBad  = "bad"  // none takes it
	poisonHuge = "huge" // too large for one request, even alone
	poisonOnce = "once" // the first receiver of each upstream with copies does not take it
)

// soakSeries is one series that a shard sends. What its samples are follows
// from its id, the number of their batch and their place in it, so that every
// receiver can tell.
type soakSeries struct {
	id     int
	poison string
}

func (s soakSeries) histograms() bool { return s.id%10 == 3 }

// labels returns the series' labels as a sender, or, with the replica label, as a
// receiver has them.
func (s soakSeries) labels(replica bool) labels.Labels {
	b := labels.NewBuilder(labels.FromStrings("__name__", "soak_total", "job", "soak", "series", strconv.Itoa(s.id)))
	if s.poison != "" {
		b.Set("poison", s.poison)
	}
	if replica {
		b.Set("prometheus_replica", "soak")
	}
	return b.Labels()
}

const (
	soakStart    = 1_790_000_000_000 // Unix time in ms
	batchSpacing = 8                 // ms from one batch to the next; more than a series has samples in one
)

// soakPoint is one sample: the place-th of a series in a batch.
type soakPoint struct{ batch, place int }

func (p soakPoint) timestamp() int64 { return soakStart + int64(p.batch)*batchSpacing + int64(p.place) }

func (p soakPoint) value(series int) float64 {
	return float64(series) + float64(p.batch)/2 + float64(p.place)/16
}

func pointAt(timestamp int64) soakPoint {
	return soakPoint{int(timestamp-soakStart) / batchSpacing, int(timestamp-soakStart) % batchSpacing}
}

// soakPart is what a batch has of one series.
type soakPart struct {
	soakSeries
	samples int
}

// soakBatch is one request of a shard.
type soakBatch struct {
	number int
	parts  []soakPart
}

func (b soakBatch) samples() (n int) {
	for _, p := range b.parts {
		n += p.samples
	}
	return n
}

// poisoned tells whether the batch has a series that is refused for ever.
func (b soakBatch) poisoned() bool {
	for _, p := range b.parts {
		if p.poison == poisonBad || p.poison == poisonHuge {
			return true
		}
	}
	return false
}

func (b soakBatch) bodyV1() []byte {
	var req prompb.WriteRequest
	for _, part := range b.parts {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(part.labels(false), nil)}
		for place := range part.samples {
			p := soakPoint{b.number, place}
			if part.histograms() {
				h := &histogram.Histogram{Sum: p.value(part.id), Count: 1, ZeroCount: 1, ZeroThreshold: 1}
				ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(p.timestamp(), h))
				continue
			}
			ts.Samples = append(ts.Samples, prompb.Sample{Value: p.value(part.id), Timestamp: p.timestamp()})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	return marshal(&req)
}

func (b soakBatch) bodyV2() []byte {
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for _, part := range b.parts {
		ts := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(part.labels(false), nil)}
		for place := range part.samples {
			p := soakPoint{b.number, place}
			if part.histograms() {
				h := &histogram.Histogram{Sum: p.value(part.id), Count: 1, ZeroCount: 1, ZeroThreshold: 1}
				ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(0, p.timestamp(), h))
				continue
			}
			ts.Samples = append(ts.Samples, writev2.Sample{Value: p.value(part.id), Timestamp: p.timestamp()})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	return marshal(&req)
}

// received is what a request to a receiver holds of one series: its labels in
// their order, names and values in turns, and its samples in theirs.
type received struct {
	labels     []string
	values     []float64
	timestamps []int64
	histograms int // of the samples
}

func (r *received) add(value float64, timestamp int64) {
	r.values = append(r.values, value)
	r.timestamps = append(r.timestamps, timestamp)
}

func decodeV1(body []byte) (all []received, err error) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(body); err != nil {
		return nil, err
	}
	for _, ts := range req.Timeseries {
		r := received{histograms: len(ts.Histograms)}
		for _, l := range ts.Labels {
			r.labels = append(r.labels, l.Name, l.Value)
		}
		for _, s := range ts.Samples {
			r.add(s.Value, s.Timestamp)
		}
		for _, h := range ts.Histograms {
			r.add(h.Sum, h.Timestamp)
		}
		all = append(all, r)
	}
	return all, nil
}

func decodeV2(body []byte) (all []received, err error) {
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil {
		return nil, err
	}
	for _, ts := range req.Timeseries {
		r := received{histograms: len(ts.Histograms)}
		for _, ref := range ts.LabelsRefs {
			r.labels = append(r.labels, req.Symbols[ref])
		}
		for _, s := range ts.Samples {
			r.add(s.Value, s.Timestamp)
		}
		for _, h := range ts.Histograms {
			r.add(h.Sum, h.Timestamp)
		}
		all = append(all, r)
	}
	return all, nil
}

// identify returns the series that r is of, or an error when a label or a value
// is not what it should be.
func (r *received) identify(replica bool) (soakSeries, error) {
	var s soakSeries
	for i := 0; i+1 < len(r.labels); i += 2 {
		switch r.labels[i] {
		case "series":
			s.id, _ = strconv.Atoi(r.labels[i+1]) // compared below
		case "poison":
			s.poison = r.labels[i+1]
		}
	}
	var want []string
	s.labels(replica).Range(func(l labels.Label) { want = append(want, l.Name, l.Value) })
	if got := fmt.Sprintf("%q", r.labels); got != fmt.Sprintf("%q", want) {
		return s, fmt.Errorf("a series has labels %s, which should be %q", got, want)
	}
	for i, at := range r.timestamps {
		if want := pointAt(at).value(s.id); r.values[i] != want {
			return s, fmt.Errorf("series %d has the value %v at %d, which should be %v", s.id, r.values[i], at, want)
		}
	}
	return s, nil
}

// books are what a receiver has written. Of each series they keep the newest
// batch alone: a shard sends no batch before the last one is settled, so that
// nothing but the newest is ever asked for.
type books struct {
	mu       sync.Mutex
	newest   map[int]entry // by series
	distinct int           // samples, each counted once
}

// entry is the newest batch of a series and, bit by bit, its samples.
type entry struct {
	batch int
	got   uint8
}

// write books the samples of a series, in their order; mu must be held. An
// error says that they are out of order.
func (b *books) write(series int, timestamps []int64) error {
	e, seen := b.newest[series]
	last := -1
	for _, at := range timestamps {
		p := pointAt(at)
		switch {
		case seen && p.batch < e.batch:
			return fmt.Errorf("series %d: batch %d written after batch %d", series, p.batch, e.batch)
		case !seen || p.batch > e.batch:
			e, seen, last = entry{batch: p.batch}, true, -1
		}
		if p.place <= last {
			return fmt.Errorf("series %d: sample %d of batch %d after sample %d", series, p.place, p.batch, last)
		}
		last = p.place
		if e.got&(1<<p.place) == 0 {
			b.distinct++
		}
		e.got |= 1 << p.place
	}
	b.newest[series] = e
	return nil
}

// holds tells whether all of a part is written, and whether anything of the
// series ever was.
func (b *books) holds(batch int, part soakPart) (whole, some bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, some := b.newest[part.id]
	return some && e.batch == batch && bits.OnesCount8(e.got) == part.samples, some
}

// What the books say must be right for the soak to mean anything.
func TestSoakBooks(t *testing.T) {
	part := soakPart{soakSeries{id: 7}, 2}
	at := func(batch, place int) int64 { return soakPoint{batch, place}.timestamp() }
	b := books{newest: map[int]entry{}}
	for _, step := range []struct {
		name       string
		timestamps []int64
		fails      bool
		whole      bool // batch 1 is written as a whole
		distinct   int
	}{
		{"half of a batch", []int64{at(1, 0)}, false, false, 1},
		{"all of it", []int64{at(1, 0), at(1, 1)}, false, true, 2},
		{"all of it again", []int64{at(1, 0), at(1, 1)}, false, true, 2},
		{"out of order within", []int64{at(1, 1), at(1, 0)}, true, true, 2},
		{"an older batch", []int64{at(0, 0)}, true, true, 2},
		{"the next batch", []int64{at(2, 0)}, false, false, 3},
		{"the old one again", []int64{at(1, 0), at(1, 1)}, true, false, 3},
	} {
		if err := b.write(part.id, step.timestamps); (err != nil) != step.fails {
			t.Errorf("%s: %v", step.name, err)
		}
		if whole, some := b.holds(1, part); whole != step.whole || !some || b.distinct != step.distinct {
			t.Errorf("%s: whole is %t, %d distinct", step.name, whole, b.distinct)
		}
	}
}
