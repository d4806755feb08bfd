package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// stored is what a Prometheus server holds: of each series the samples by
// timestamp, bit for bit, stale markers among them. Series are named by their
// labels, as text.
type stored map[string]map[int64]string

// stale is a stale marker, as stored has it.
var stale = floatBits(math.Float64frombits(value.StaleNaN))

// span is a time from one to another, Unix times in ms.
type span struct{ from, to int64 }

// readAll returns all samples in a span of the server at baseURL, by remote
// read. Each series has the external labels of the server, and those of add of
// which it has none of its own.
func readAll(ctx context.Context, baseURL string, in span, add map[string]string) (stored, error) {
	req := prompb.ReadRequest{Queries: []*prompb.Query{{
		StartTimestampMs: in.from, EndTimestampMs: in.to,
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"}},
	}}}
	plain, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	body, err := postRead(ctx, baseURL+"/api/v1/read", compressed(plain))
	if err != nil {
		return nil, fmt.Errorf("remote read: %w", err)
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(body); err != nil {
		return nil, fmt.Errorf("remote read: %w", err)
	}
	all := stored{}
	for _, ts := range resp.Results[0].Timeseries {
		lset := map[string]string{}
		maps.Copy(lset, add)
		for _, l := range ts.Labels {
			lset[l.Name] = l.Value
		}
		samples := map[int64]string{}
		for _, s := range ts.Samples {
			samples[s.Timestamp] = floatBits(s.Value)
		}
		for _, h := range ts.Histograms {
			samples[h.Timestamp] = histogramText(h)
		}
		all[fmt.Sprintf("%q", lset)] = samples
	}
	return all, nil
}

func postRead(ctx context.Context, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.300s", resp.Status, answer)
	}
	return s2.Decode(nil, answer)
}

func floatBits(v float64) string { return strconv.FormatUint(math.Float64bits(v), 16) }

// histogramText is the same for histograms that differ only in how they are
// stored: in buckets that are empty, and in what the chunk says of resets.
func histogramText(h prompb.Histogram) string {
	if value.IsStaleNaN(h.Sum) {
		return "histogram " + stale
	}
	fh := h.ToFloatHistogram().Compact(0)
	return fmt.Sprintf("histogram %s schema %d zero %g bounds %v", fh, fh.Schema, fh.ZeroThreshold, fh.CustomValues)
}

// count returns how many samples there are.
func (s stored) count() (n int) {
	for _, samples := range s {
		n += len(samples)
	}
	return n
}

// without returns the samples of s that other does not have, or has with other
// values.
func (s stored) without(other stored) stored {
	rest := stored{}
	for series, samples := range s {
		for timestamp, v := range samples {
			if other[series][timestamp] == v {
				continue
			}
			if rest[series] == nil {
				rest[series] = map[int64]string{}
			}
			rest[series][timestamp] = v
		}
	}
	return rest
}

// example names one sample and tells how the samples lie in time.
func (s stored) example() string {
	first, last, text := int64(math.MaxInt64), int64(0), "none"
	for series, samples := range s {
		for timestamp, v := range samples {
			first, last = min(first, timestamp), max(last, timestamp)
			text = fmt.Sprintf("%s at %d: %s", series, timestamp, v)
		}
	}
	return fmt.Sprintf("%s (%d samples of %d series, from %d to %d)", text, s.count(), len(s), first, last)
}

// readExemplars returns the exemplars in a span of a server, as text. To their
// series add is added as in readAll.
func readExemplars(ctx context.Context, baseURL string, in span, add map[string]string) (map[string]bool, error) {
	query := url.Values{
		"query": {`{__name__=~".+"}`},
		"start": {strconv.FormatFloat(float64(in.from)/1000, 'f', 3, 64)},
		"end":   {strconv.FormatFloat(float64(in.to)/1000, 'f', 3, 64)},
	}
	body, err := fetch(ctx, http.DefaultClient, baseURL+"/api/v1/query_exemplars?"+query.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data []struct {
			SeriesLabels map[string]string
			Exemplars    []json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("exemplars of %s: %w", baseURL, err)
	}
	all := map[string]bool{}
	for _, series := range answer.Data {
		lset := map[string]string{}
		maps.Copy(lset, add)
		maps.Copy(lset, series.SeriesLabels)
		for _, e := range series.Exemplars {
			all[fmt.Sprintf("%q %s", lset, e)] = true
		}
	}
	return all, nil
}
