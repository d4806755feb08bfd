package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// What a relay may do wrong is told apart, and what it should do is nothing wrong.
func TestVerifier(t *testing.T) {
	type change func(points []point) []point
	first := func(edit func(p *point)) change {
		return func(points []point) []point {
			points[0].labels = slices.Clone(points[0].labels)
			edit(&points[0])
			return points
		}
	}
	for _, tc := range []struct {
		name   string
		change change
		want   verdict
	}{
		{"right", func(p []point) []point { return p }, verdict{}},
		{"lost", func(p []point) []point { return p[2:] }, verdict{Samples: -2}},
		{"twice", func(p []point) []point { return append(p, p[0]) }, verdict{Samples: 1, Reordered: 1}},
		{"reordered", func(p []point) []point { p[0], p[1] = p[1], p[0]; return p }, verdict{Reordered: 1}},
		{"unsorted", first(func(p *point) { slices.Reverse(p.labels) }), verdict{Unsorted: 1}},
		{"not spliced", first(func(p *point) { p.labels = seriesLabels(0) }), verdict{WrongLabels: 1}},
		{"no id", first(func(p *point) { p.labels = p.labels[:3] }), verdict{WrongLabels: 1}},
		{"another value", first(func(p *point) { p.value++ }), verdict{WrongValues: 1}},
	} {
		for _, version := range []string{"1.0", "2.0"} {
			t.Run(tc.name+" "+version, func(t *testing.T) {
				points := tc.change(relayedPoints())
				req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(compressed(body(version, points))))
				req.Header.Set("Content-Type", "application/x-protobuf;proto="+messages[version])
				v, answer := newVerifier(), httptest.NewRecorder()
				v.ServeHTTP(answer, req)
				if answer.Code != http.StatusNoContent {
					t.Fatalf("got %d: %s", answer.Code, answer.Body)
				}
				got, want := v.verdict, tc.want
				if (got.Example == "") != (want.Unsorted+want.Reordered+want.WrongLabels+want.WrongValues == 0) {
					t.Errorf("the example is %q", got.Example)
				}
				want.Requests, want.Samples, want.Histograms, want.Exemplars = 1, want.Samples+198, 2, 2
				want.Example = got.Example
				if got != want {
					t.Errorf("got %+v\nwant %+v", got, want)
				}
			})
		}
	}
}

// relayedPoints are those of 100 series as they should leave the relay.
func relayedPoints() []point {
	points := verifiedPoints(0, 100, 2, 1000)
	for i := range points {
		points[i].labels = relayedLabels(i / 2)
	}
	return points
}
