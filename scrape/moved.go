package scrape

import "time"

const (
	movedSpan = 15 * time.Second // that one count covers
	movedFor  = 6 * time.Hour    // how far back they go
	maxMoved  = 2000             // counts
)

// moveCounts are the moves of the last hours, oldest first.
type moveCounts []MoveCount

// count returns m with one move more. It forgets what is too old, or too much.
func (m moveCounts) count(now time.Time, reason string) moveCounts {
	at := now.Truncate(movedSpan)
	for i := len(m) - 1; i >= 0 && !m[i].Time.Before(at); i-- {
		if m[i].Reason == reason {
			m[i].Moves++
			return m
		}
	}
	for len(m) > 0 && (now.Sub(m[0].Time) > movedFor || len(m) >= maxMoved) {
		m = m[1:]
	}
	return append(m, MoveCount{Time: at, Reason: reason, Moves: 1})
}
