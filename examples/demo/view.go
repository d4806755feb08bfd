package main

import (
	"fmt"
	"strings"
	"time"
)

// view is all that is shown.
type view struct {
	sighting
	pairs     []pairView
	instances int
	selected  int
	trouble   string
}

// pairView is the line of one pair.
type pairView struct {
	name, state              string
	killed                   bool
	targets                  int
	series                   int64
	statusURL, prometheusURL string
}

// summary says in one line how things stand, without what changes all the time.
func (v view) summary() string {
	var pairs []string
	for _, p := range v.pairs {
		pairs = append(pairs, fmt.Sprintf("%s %s %d", p.name, p.word(), p.targets))
	}
	settled := "settling"
	if v.settled {
		settled = "settled"
	}
	return fmt.Sprintf("%s: %s targets; %d of %d scraped", settled, strings.Join(pairs, ", "), v.scraped, v.instances)
}

// word is the state as it is shown.
func (p pairView) word() string {
	switch {
	case p.killed && (p.state == "dead" || p.state == "left"):
		return "killed, noticed"
	case p.killed:
		return "killed"
	}
	return p.state
}

// targetsURL is where Prometheus says what it scrapes. It is part of the API:
// pages for people are in Prometheus's releases only, not in what is built here.
func (p pairView) targetsURL() string { return p.prometheusURL + "/api/v1/targets" }

// The colours of a terminal (ECMA-48, SGR).
const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
)

// frame is the whole view as lines for a terminal of height lines, with at least
// 80 columns. The fewer lines there are, the fewer moves it shows.
func (v view) frame(height int) []string {
	out := []string{
		"",
		fmt.Sprintf("  %sRingside%s  %d Prometheus servers share %d targets, with nobody in charge", bold, reset, len(v.pairs), v.instances),
		"",
		"  " + v.headline(),
		"",
		fmt.Sprintf("  %s    %-9s %-17s %7s  %-24s %9s%s", dim, "member", "state", "targets", "share", "series", reset),
	}
	for i, p := range v.pairs {
		out = append(out, v.row(i, p))
	}
	out = append(out, "", fmt.Sprintf("  %s    %-9s %-26s %s%s", dim, "look at", "status page", "what Prometheus scrapes", reset))
	for _, p := range v.pairs {
		out = append(out, fmt.Sprintf("      %-9s %s%-26s %s%s", p.name, cyan, p.statusURL, p.targetsURL(), reset))
	}
	out = append(out, "", fmt.Sprintf("  %s    last moves%s", dim, reset))
	help := []string{"", v.help()}
	if v.trouble != "" {
		help = append([]string{"", "  " + red + v.trouble + reset}, help...)
	}
	room := min(max(height-len(out)-len(help), 1), 8)
	for i := range room {
		line := ""
		if n := len(v.moves) - 1 - i; n >= 0 {
			m := v.moves[n]
			line = fmt.Sprintf("      %s%s%s %s", dim, m.at.Format(time.TimeOnly), reset, m.text())
		}
		out = append(out, line)
	}
	return append(out, help...)
}

// headline says whether all is well.
func (v view) headline() string {
	settled := yellow + "○ settling" + reset
	if v.settled {
		settled = green + "● settled " + reset
	}
	colour := yellow
	if v.scraped == v.instances {
		colour = green
	}
	return fmt.Sprintf("%s    %s%d of %d%s targets scraped in the last %s", settled, colour, v.scraped, v.instances, reset, 5*scrapeInterval/2)
}

func (v view) row(i int, p pairView) string {
	mark := fmt.Sprintf("  %s%d%s  ", dim, i+1, reset)
	if i == v.selected {
		mark = fmt.Sprintf("%s▸ %d%s  ", bold, i+1, reset)
	}
	dot, colour := "●", green
	switch word := p.word(); {
	case p.killed || word == "dead" || word == "crashed":
		dot, colour = "✗", red
	case word != "active":
		dot, colour = "○", yellow
	}
	series := "-"
	if !p.killed && p.series > 0 {
		series = thousands(p.series)
	}
	return fmt.Sprintf("%s %-9s %s%s %-15s%s %7d  %s %9s", mark, p.name, colour, dot, p.word(), reset, p.targets, v.bar(p.targets), series)
}

// bar shows n as a share of all targets, 24 columns wide.
func (v view) bar(n int) string {
	const width = 18
	eighths := 0
	if v.instances > 0 {
		eighths = n * width * 8 / v.instances
	}
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	percent := 0
	if v.instances > 0 {
		percent = (100*n + v.instances/2) / v.instances
	}
	padding := strings.Repeat(" ", width-len([]rune(full)))
	return fmt.Sprintf("%s%s%s%s %3d %%", cyan, full, reset, padding, percent)
}

func (v view) help() string {
	key := func(k, does string) string { return bold + k + reset + " " + does + "    " }
	return "  " + key(fmt.Sprintf("1-%d", len(v.pairs)), "choose a pair") +
		key("k", "kill -9 it") + key("s", "start it again") + key("q", "quit")
}

// thousands writes n with a comma before each three digits.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
