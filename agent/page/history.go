package page

import (
	"slices"
	"time"

	"github.com/ringside-project/ringside/scrape"
)

// moveGroup is targets that went the same way at the same time.
type moveGroup struct {
	Time     time.Time
	Reason   string
	From, To string // empty: nobody
	Moves    []scrape.Move
	Count    int
}

// More is how many of the moves are not listed.
func (g moveGroup) More() int { return g.Count - len(g.Moves) }

const (
	maxGroups = 40
	maxListed = 20 // moves of a group
)

// groupMoves: newest first.
func groupMoves(moves []scrape.Move) []moveGroup {
	type way struct {
		at               int64
		reason, from, to string
	}
	index := map[way]int{}
	var groups []moveGroup
	for _, m := range slices.Backward(moves) {
		w := way{m.Time.Unix(), m.Reason, m.From, m.To}
		i, known := index[w]
		if !known {
			if len(groups) == maxGroups {
				break
			}
			i = len(groups)
			index[w] = i
			groups = append(groups, moveGroup{Time: m.Time, Reason: m.Reason, From: m.From, To: m.To})
		}
		g := &groups[i]
		if g.Count++; len(g.Moves) < maxListed {
			g.Moves = append(g.Moves, m)
		}
	}
	return groups
}
