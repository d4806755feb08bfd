package plan

import (
	"fmt"
	"time"
)

// Span is a half-open range of time, [Min, Max), in milliseconds since 1970.
type Span struct{ Min, Max int64 }

// String writes the span for a person.
func (s Span) String() string {
	return fmt.Sprintf("%s to %s", clock(s.Min), clock(s.Max))
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z07:00") }

func (s Span) overlaps(o Span) bool { return s.Min < o.Max && o.Min < s.Max }

// meet is what both have; of spans that overlap.
func (s Span) meet(o Span) Span { return Span{max(s.Min, o.Min), min(s.Max, o.Max)} }

// subtract takes o out of the spans, which are in order and do not overlap.
func subtract(spans []Span, o Span) []Span {
	var rest []Span
	for _, s := range spans {
		if !s.overlaps(o) {
			rest = append(rest, s)
			continue
		}
		if s.Min < o.Min {
			rest = append(rest, Span{s.Min, o.Min})
		}
		if o.Max < s.Max {
			rest = append(rest, Span{o.Max, s.Max})
		}
	}
	return rest
}

// ceil is the end of the window of size ms in which t, an end, lies.
func ceil(t, size int64) int64 {
	floor := t - (t%size+size)%size
	if floor == t {
		return t
	}
	return floor + size
}
