package e2e

import (
	"slices"
	"testing"
	"time"
)

// second returns the time s seconds after an arbitrary one.
func second(s float64) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second)))
}

// scrapes returns a log of target "t" in which each of scrapers scrapes at its
// seconds.
func scrapes(scrapers map[string][]float64) scrapeLog {
	var log scrapeLog
	for scraper, seconds := range scrapers {
		for _, s := range seconds {
			log = append(log, scrape{Time: second(s), Target: "t", Scraper: scraper})
		}
	}
	slices.SortFunc(log, func(a, b scrape) int { return a.Time.Compare(b.Time) })
	return log
}

func TestGaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   []float64
		want [][2]float64
	}{
		{"regular", []float64{-1, 1, 3, 5, 7, 9}, nil},
		{"just under 1.5 intervals", []float64{0, 2.9, 5.8, 8.7}, nil},
		{"1.5 intervals", []float64{0, 2, 5, 7, 9}, [][2]float64{{2, 5}}},
		{"before the window counts", []float64{-1, 2, 4, 6, 8}, [][2]float64{{-1, 2}}},
		{"gap at the end", []float64{0, 2, 4, 6}, [][2]float64{{6, 10}}},
		{"never", nil, [][2]float64{{0, 10}}},
		{"after the window does not count", []float64{0, 2, 4, 6, 8, 20}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want []gap
			for _, w := range tc.want {
				want = append(want, gap{"t", second(w[0]), second(w[1])})
			}
			log := scrapes(map[string][]float64{"a": tc.at})
			got := log.Gaps([]string{"t"}, second(0), second(10), 2*time.Second)
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestGapsOfAnyScraper(t *testing.T) {
	log := scrapes(map[string][]float64{"a": {0, 2, 4}, "b": {5.5, 7.5, 9.5}})
	if gaps := log.Gaps([]string{"t"}, second(0), second(10), 2*time.Second); len(gaps) > 0 {
		t.Errorf("a hand-over without a gap has %v", gaps)
	}
	if gaps := log.Without("b").Gaps([]string{"t"}, second(0), second(10), 2*time.Second); len(gaps) != 1 {
		t.Errorf("without the heir there are %d gaps, not 1", len(gaps))
	}
}

func TestDoubled(t *testing.T) {
	for _, tc := range []struct {
		name     string
		log      scrapeLog
		replicas int
		want     time.Duration
	}{
		{"one scraper", scrapes(map[string][]float64{"a": {0, 2, 4}}), 1, 0},
		{"hand-over", scrapes(map[string][]float64{"a": {0, 2, 4, 6}, "b": {3, 5, 7, 9}}), 1, 3 * time.Second},
		{"one after the other", scrapes(map[string][]float64{"a": {0, 2, 4}, "b": {5, 7, 9}}), 1, 0},
		{"two replicas", scrapes(map[string][]float64{"a": {0, 2, 4, 6}, "b": {3, 5, 7, 9}}), 2, 0},
		{"third of two", scrapes(map[string][]float64{"a": {0, 2, 4}, "b": {0, 2, 4}, "c": {1, 3}}), 2, 2 * time.Second},
		{"comes back", scrapes(map[string][]float64{"a": {0, 2, 20, 22}, "b": {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21}}), 1, 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, listed := tc.log.Doubled(tc.replicas, 2*time.Second)["t"]
			if got != tc.want || listed != (got > 0) {
				t.Errorf("got %s (listed: %t), want %s", got, listed, tc.want)
			}
		})
	}
}

func TestOwnersAndMoves(t *testing.T) {
	log := scrapes(map[string][]float64{"a": {0, 2, 4, 6}, "b": {3, 5, 7, 9}})
	before := log.Between(second(0), second(3)).Owners()
	during := log.Owners()
	after := log.Between(second(7), second(10)).Owners()
	if !slices.Equal(during["t"], []string{"a", "b"}) {
		t.Errorf("owners are %v, not a and b", during["t"])
	}
	if moved := movedTargets(before, after); !slices.Equal(moved, []string{"t"}) {
		t.Errorf("moved %v, want t", moved)
	}
	if moved := movedTargets(before, before); len(moved) > 0 {
		t.Errorf("moved %v although nothing changed", moved)
	}
	strays := log.Strays(after)
	if last := strays[len(strays)-1]; last.Scraper != "a" || !last.Time.Equal(second(6)) {
		t.Errorf("last stray is %v, want that of a at 6 s", last)
	}
	if first := log.Without("a").Since(second(1))["t"]; first != 2*time.Second {
		t.Errorf("scraped again after %s, want 2s", first)
	}
}

func TestQuantile(t *testing.T) {
	var values []time.Duration
	for i := range 100 {
		values = append(values, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g is %d, want %d", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing is %d", got)
	}
}
