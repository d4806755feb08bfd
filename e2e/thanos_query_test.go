package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
)

// queryAll returns all samples in a span that a query for selector finds, of
// series whose labels edit, which may be nil, has changed. Prometheus and Thanos
// give the same answers to it for the same samples, but for stale markers they
// do not show.
func queryAll(ctx context.Context, baseURL, selector string, in span, edit func(lset map[string]string)) (stored, error) {
	result, err := ask(ctx, baseURL, fmt.Sprintf("%s[%dms]", selector, in.to-in.from+1), in.to, true)
	if err != nil {
		return nil, err
	}
	all := stored{}
	for _, series := range result {
		if edit != nil {
			edit(series.Metric)
		}
		name := fmt.Sprintf("%q", series.Metric)
		if all[name] == nil {
			all[name] = map[int64]string{}
		}
		for _, v := range series.Values {
			value, err := v.float()
			if err != nil {
				return nil, err
			}
			all[name][v.time()] = floatBits(value)
		}
		for _, h := range series.Histograms {
			all[name][h.time()] = "histogram " + string(h[1])
		}
	}
	return all, nil
}

// counted returns how many samples of each series there are, by count_over_time.
func counted(ctx context.Context, baseURL, selector string, in span, dedup bool) (map[string]int, error) {
	result, err := ask(ctx, baseURL, fmt.Sprintf("count_over_time(%s[%dms])", selector, in.to-in.from+1), in.to, dedup)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, series := range result {
		n, err := series.Value.float()
		if err != nil {
			return nil, err
		}
		counts[fmt.Sprintf("%q", series.Metric)] = int(n)
	}
	return counts, nil
}

// queried is one series of a query's answer.
type queried struct {
	Metric     map[string]string
	Value      queriedSample
	Values     []queriedSample
	Histograms []queriedSample
}

// queriedSample is a time in seconds, and a value in quotes or a histogram.
type queriedSample [2]json.RawMessage

func (s queriedSample) time() int64 {
	seconds, err := strconv.ParseFloat(string(s[0]), 64)
	if err != nil {
		return math.MinInt64 // which is nowhere else
	}
	return int64(math.Round(seconds * 1000))
}

func (s queriedSample) float() (float64, error) {
	text, err := strconv.Unquote(string(s[1]))
	if err != nil {
		return 0, fmt.Errorf("value %s: %w", s[1], err)
	}
	return strconv.ParseFloat(text, 64)
}

// ask returns the answer to an instant query. Thanos is to give none rather than
// a part of it.
func ask(ctx context.Context, baseURL, query string, at int64, dedup bool) ([]queried, error) {
	params := url.Values{
		"query": {query}, "time": {strconv.FormatFloat(float64(at)/1000, 'f', 3, 64)},
		"dedup": {strconv.FormatBool(dedup)}, "partial_response": {"false"},
	}
	body, err := fetch(ctx, http.DefaultClient, baseURL+"/api/v1/query?"+params.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data     struct{ Result []queried }
		Warnings []string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("answer to %s: %w", query, err)
	}
	if len(answer.Warnings) > 0 {
		return nil, fmt.Errorf("answer to %s: %v", query, answer.Warnings)
	}
	return answer.Data.Result, nil
}
