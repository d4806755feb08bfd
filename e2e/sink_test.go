package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

const writtenHeader = "X-Prometheus-Remote-Write-%s-Written"

// discard is a receiver that reads each request, looks at nothing and takes it
// for one of batchSamples.
func discard(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answerWritten(w, batchSamples, 0, 0)
}

func answerWritten(w http.ResponseWriter, samples, histograms, exemplars int) {
	w.Header().Set(fmt.Sprintf(writtenHeader, "Samples"), strconv.Itoa(samples))
	w.Header().Set(fmt.Sprintf(writtenHeader, "Histograms"), strconv.Itoa(histograms))
	w.Header().Set(fmt.Sprintf(writtenHeader, "Exemplars"), strconv.Itoa(exemplars))
	w.WriteHeader(http.StatusNoContent)
}

// verdict is what a verifier saw.
type verdict struct {
	Requests, Samples, Histograms, Exemplars, Series int

	Unsorted    int // series whose labels are not sorted
	Reordered   int // samples not newer than the one before, of their series
	WrongLabels int // series that have not the labels they should have
	WrongValues int
	Example     string // of what is wrong
}

// verifier is a receiver that decodes each request, as Prometheus does, and
// checks it against what was sent: see verifiedPoints.
type verifier struct {
	mu      sync.Mutex
	verdict verdict
	newest  map[int]int64 // timestamp by series
}

func newVerifier() *verifier { return &verifier{newest: map[int]int64{}} }

func (v *verifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.verdict.Series = len(v.newest)
		json.NewEncoder(w).Encode(v.verdict)
		return
	}
	points, err := decodeRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verdict.Requests++
	var samples, histograms, exemplars int
	runs(points, func(run []point) {
		v.check(run)
		for _, p := range run {
			if p.histogram {
				histograms++
			} else {
				samples++
			}
			if p.exemplar {
				exemplars++
			}
		}
	})
	v.verdict.Samples += samples
	v.verdict.Histograms += histograms
	v.verdict.Exemplars += exemplars
	answerWritten(w, samples, histograms, exemplars)
}

// check looks at the points of one series.
func (v *verifier) check(run []point) {
	got := run[0].labels
	compare := func(a, b label) int { return strings.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(got, compare) {
		v.wrong(&v.verdict.Unsorted, "unsorted: %v", got)
		got = slices.SortedFunc(slices.Values(got), compare)
	}
	at := slices.IndexFunc(got, func(l label) bool { return l.name == "series" })
	if at < 0 {
		v.wrong(&v.verdict.WrongLabels, "no label series: %v", got)
		return
	}
	id, err := strconv.Atoi(got[at].value)
	if want := relayedLabels(id); err != nil || !slices.Equal(got, want) {
		v.wrong(&v.verdict.WrongLabels, "got %v, want %v", got, want)
		return
	}
	for _, p := range run {
		if want := verifiedValue(id, p.timestamp); math.Float64bits(p.value) != math.Float64bits(want) {
			v.wrong(&v.verdict.WrongValues, "series %d at %d is %v, want %v", id, p.timestamp, p.value, want)
		}
		if last, seen := v.newest[id]; seen && p.timestamp <= last {
			v.wrong(&v.verdict.Reordered, "series %d at %d, after %d", id, p.timestamp, last)
		}
		v.newest[id] = p.timestamp
	}
}

func (v *verifier) wrong(count *int, format string, args ...any) {
	*count++
	if v.verdict.Example == "" {
		v.verdict.Example = fmt.Sprintf(format, args...)
	}
}

// verifiedPoints returns several points of each of the n series from first on,
// from the time on. Among the series are some whose labels come unsorted, some
// that have the replica label already, and some of native histograms.
func verifiedPoints(first, n, each int, timestamp int64) []point {
	var points []point
	for id := first; id < first+n; id++ {
		labels := seriesLabels(id)
		switch {
		case hasReplica(id):
			labels = relayedLabels(id)
		case id%100 == 51:
			slices.Reverse(labels)
		}
		for i := range each {
			at := timestamp + int64(i)
			points = append(points, point{
				labels: labels, value: verifiedValue(id, at), timestamp: at,
				histogram: id%100 == 52, exemplar: id%100 == 53,
			})
		}
	}
	return points
}

// verifiedValue is the value of series id at a time.
func verifiedValue(id int, timestamp int64) float64 {
	return float64(id) + float64(timestamp)/1e6
}

func hasReplica(id int) bool { return id%100 == 50 }

// relayedLabels returns the labels of series id as they leave the relay.
func relayedLabels(id int) []label {
	labels, value := seriesLabels(id), replica
	if hasReplica(id) {
		value = "another"
	}
	at, _ := slices.BinarySearchFunc(labels, replicaLabel, func(l label, name string) int { return strings.Compare(l.name, name) })
	return slices.Insert(labels, at, label{replicaLabel, value})
}

// decodeRequest reads a request with Prometheus's own decoders.
func decodeRequest(r *http.Request) ([]point, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	plain, err := s2.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	if strings.Contains(r.Header.Get("Content-Type"), messages["2.0"]) {
		var req writev2.Request
		if err := req.Unmarshal(plain); err != nil {
			return nil, err
		}
		return pointsV2(&req)
	}
	var req prompb.WriteRequest
	if err := req.Unmarshal(plain); err != nil {
		return nil, err
	}
	return pointsV1(&req), nil
}

func pointsV1(req *prompb.WriteRequest) (points []point) {
	for _, ts := range req.Timeseries {
		var labels []label
		for _, l := range ts.Labels {
			labels = append(labels, label{l.Name, l.Value})
		}
		exemplars := len(ts.Exemplars)
		add := func(value float64, timestamp int64, histogram bool) {
			points = append(points, point{labels, value, timestamp, histogram, exemplars > 0})
			exemplars--
		}
		for _, s := range ts.Samples {
			add(s.Value, s.Timestamp, false)
		}
		for _, h := range ts.Histograms {
			add(h.Sum, h.Timestamp, true)
		}
	}
	return points
}

func pointsV2(req *writev2.Request) (points []point, err error) {
	for _, ts := range req.Timeseries {
		labels := make([]label, len(ts.LabelsRefs)/2)
		for i := range labels {
			name, value := ts.LabelsRefs[2*i], ts.LabelsRefs[2*i+1]
			if int(max(name, value)) >= len(req.Symbols) {
				return nil, fmt.Errorf("a reference to symbol %d of %d", max(name, value), len(req.Symbols))
			}
			labels[i] = label{req.Symbols[name], req.Symbols[value]}
		}
		exemplars := len(ts.Exemplars)
		add := func(value float64, timestamp int64, histogram bool) {
			points = append(points, point{labels, value, timestamp, histogram, exemplars > 0})
			exemplars--
		}
		for _, s := range ts.Samples {
			add(s.Value, s.Timestamp, false)
		}
		for _, h := range ts.Histograms {
			add(h.Sum, h.Timestamp, true)
		}
	}
	return points, nil
}
