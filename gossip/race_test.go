//go:build race

package gossip

import "time"

// underRace says that the race detector is on. Go 1.26's keeps one context for all timers of a synctest bubble, which crashes it (SIGSEGV in the
// runtime) when two processors fire such timers: see TestMain.
const underRace = true

// lossLasts is shorter with the race detector, which is ten times as slow.
const lossLasts = 2 * time.Minute
