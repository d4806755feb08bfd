package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
)

// bar shows what a member has, 100 units being the most that any has.
type bar struct {
	Name          string
	Targets       int
	Series        int64
	TargetsWide   float64
	SeriesWide    float64
	TargetsOfMean string // such as 1.04×
	SeriesOfMean  string
	Bad           bool
}

// means are over the active members.
type means struct {
	Members         int
	Targets, Series float64 // of a member
	TargetsAt       float64 // where the line goes
	SeriesAt        float64
	TargetsMost     string // the most that a member has, in means
	SeriesMost      string
}

// newSpread: those that have gone have nothing, and those that may not own yet do not count for the mean.
func newSpread(members []gossip.Member) ([]bar, means) {
	var mean means
	var targets, series float64
	var mostTargets int
	var mostSeries int64
	for _, m := range members {
		mostTargets, mostSeries = max(mostTargets, m.Targets), max(mostSeries, m.Series)
		if m.State == gossip.Active {
			mean.Members++
			targets += float64(m.Targets)
			series += float64(m.Series)
		}
	}
	n := float64(max(mean.Members, 1))
	mean.Targets, mean.Series = targets/n, series/n
	mean.TargetsAt, mean.SeriesAt = share(mean.Targets, float64(mostTargets)), share(mean.Series, float64(mostSeries))
	mean.TargetsMost, mean.SeriesMost = times(float64(mostTargets), mean.Targets), times(float64(mostSeries), mean.Series)
	var bars []bar
	for _, m := range members {
		if m.State == gossip.Left {
			continue
		}
		bars = append(bars, bar{
			Name: m.Name, Targets: m.Targets, Series: m.Series, Bad: m.State == gossip.Dead || m.State == gossip.Unready,
			TargetsWide: share(float64(m.Targets), float64(mostTargets)), SeriesWide: share(float64(m.Series), float64(mostSeries)),
			TargetsOfMean: times(float64(m.Targets), mean.Targets), SeriesOfMean: times(float64(m.Series), mean.Series),
		})
	}
	return bars, mean
}

// share is v in hundredths of most, to a tenth.
func share(v, most float64) float64 {
	if most <= 0 {
		return 0
	}
	return float64(int(v/most*1000+0.5)) / 10
}

func times(v, mean float64) string {
	if mean <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f×", v/mean)
}

// strip is the moves over time, in columns that stand for equal spans.
type strip struct {
	Columns []column
	Totals  []count // by reason
	Changes int     // moves from one member to another, or to nobody
	First   int     // moves from nobody
	Span    string  // of the whole
	Each    string  // of a column
	Most    int     // moves in one column
}

// column is what moved in one span.
type column struct {
	X     float64
	Title string
	Boxes []box
}

// box is a reason's part of a column.
type box struct {
	Reason    string
	Y, Height float64
}

const (
	stripColumns = 60
	columnWide   = 10  // in the picture's own units
	stripHigh    = 100 // in the same
)

// Summary is what the picture shows, in words.
func (s strip) Summary() string {
	var what []string
	if s.Changes > 0 {
		what = append(what, plural(s.Changes, "change of owner", "changes of owner"))
	}
	if s.First > 0 {
		what = append(what, plural(s.First, "first owner", "first owners"))
	}
	return strings.Join(what, " and ") + " in the last " + s.Span
}

// newStrip takes the shortest span that holds everything.
func newStrip(moved []scrape.MoveCount, now time.Time) strip {
	span := 15 * time.Minute
	for _, wider := range []time.Duration{time.Hour, 6 * time.Hour} {
		if len(moved) > 0 && now.Sub(moved[0].Time) > span {
			span = wider
		}
	}
	each := span / stripColumns
	end := now.Truncate(each).Add(each)
	var byColumn [stripColumns]map[string]int
	totals := map[string]int64{}
	s := strip{Span: seconds(span.Seconds()), Each: seconds(each.Seconds())}
	for _, m := range moved {
		i := stripColumns - 1 - int((end.Sub(m.Time)-1)/each)
		if i < 0 || i >= stripColumns {
			continue
		}
		if byColumn[i] == nil {
			byColumn[i] = map[string]int{}
		}
		byColumn[i][m.Reason] += m.Moves
		totals[m.Reason] += int64(m.Moves)
		if m.Reason == scrape.FirstOwner {
			s.First += m.Moves
		} else {
			s.Changes += m.Moves
		}
	}
	s.Totals = counts(totals)
	sums := [stripColumns]int{}
	for i, reasons := range byColumn {
		for _, n := range reasons {
			sums[i] += n
		}
		s.Most = max(s.Most, sums[i])
	}
	for i, reasons := range byColumn {
		if sums[i] > 0 {
			s.Columns = append(s.Columns, newColumn(i, reasons, s.Most, end.Add(time.Duration(i-stripColumns)*each)))
		}
	}
	return s
}

func newColumn(i int, reasons map[string]int, most int, at time.Time) column {
	c := column{X: float64(i * columnWide), Title: at.UTC().Format("15:04:05") + " UTC:"}
	y := float64(stripHigh)
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		h := float64(reasons[reason]) / float64(most) * stripHigh
		y = max(y-h, 0) // sums may be a hair too large
		c.Boxes = append(c.Boxes, box{reason, y, h})
		c.Title += fmt.Sprintf(" %d %s", reasons[reason], reason)
	}
	return c
}
