//go:build !race

package gossip

import "time"

const (
	underRace = false
	lossLasts = 10 * time.Minute
)
