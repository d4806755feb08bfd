package main

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func someView() view {
	v := view{instances: 60, selected: 1}
	v.at, v.scraped, v.settled = time.Unix(1_700_000_000, 0), 60, true
	v.pairs = []pairView{
		{name: "pair-0", state: "active", targets: 33, series: 1_234_567, statusURL: "http://127.0.0.1:9590", prometheusURL: "http://127.0.0.1:9090"},
		{name: "pair-1", state: "dead", killed: true, statusURL: "http://127.0.0.1:9591", prometheusURL: "http://127.0.0.1:9091"},
		{name: "pair-2", state: "joining", targets: 27, series: 812, statusURL: "http://127.0.0.1:9592", prometheusURL: "http://127.0.0.1:9092"},
	}
	for i := range 20 {
		v.moves = append(v.moves, move{at: v.at, n: i + 1, from: "pair-1", to: "pair-0"})
	}
	return v
}

func plain(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = colour.ReplaceAllString(line, "")
	}
	return out
}

func TestFrameIsAligned(t *testing.T) {
	lines := plain(someView().frame(40))
	at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "member") })
	if at < 0 {
		t.Fatalf("no heading:\n%s", strings.Join(lines, "\n"))
	}
	for _, row := range lines[at : at+4] {
		if got, want := utf8.RuneCountInString(row), utf8.RuneCountInString(lines[at]); got != want {
			t.Errorf("%q is %d wide, the heading %d", row, got, want)
		}
	}
	for _, line := range lines {
		if width := utf8.RuneCountInString(line); width > 80 {
			t.Errorf("%q is %d wide, more than 80", line, width)
		}
	}
}

func TestFrameFits(t *testing.T) {
	for _, height := range []int{20, 24, 30, 100} {
		lines := plain(someView().frame(height))
		if len(lines) > height {
			t.Errorf("%d lines do not fit into %d", len(lines), height)
		}
		if !strings.Contains(lines[len(lines)-1], "kill -9") {
			t.Errorf("height %d: the last line is %q, not the keys", height, lines[len(lines)-1])
		}
		newest := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "20 targets") })
		if newest < 0 {
			t.Errorf("height %d: the newest move is not shown", height)
		}
	}
}

func TestBar(t *testing.T) {
	v := view{instances: 60}
	for n, want := range map[int]string{0: "                     0 %", 30: "█████████           50 %", 60: "██████████████████ 100 %", 1: "▎                    2 %"} {
		if got := plain([]string{v.bar(n)})[0]; got != want {
			t.Errorf("bar of %d is %q, want %q", n, got, want)
		}
	}
	if got := plain([]string{view{}.bar(0)})[0]; !strings.HasSuffix(got, "0 %") {
		t.Errorf("bar of no targets at all is %q", got)
	}
}

func TestMovesBetween(t *testing.T) {
	before := map[string][]string{"a": {"x"}, "b": {"x"}, "c": {"y"}, "d": {"y", "z"}, "gone": {"x"}}
	after := map[string][]string{"a": {"y"}, "b": {"y"}, "c": {"y"}, "d": {"x", "y"}, "new": {"z"}, "lost": nil}
	want := []move{{n: 1, to: "z"}, {n: 2, from: "x", to: "y"}, {n: 1, from: "z", to: "x"}}
	if got := movesBetween(time.Time{}, before, after); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		width      int
		line, want string
	}{
		{10, "short", "short"},
		{3, "short", "sho"},
		{3, "▸ █▎x", "▸ █"},
		{2, red + "long" + reset, red + "lo" + reset},
		{0, "x", ""},
	} {
		if got := cut(tc.line, tc.width); got != tc.want {
			t.Errorf("cut(%q, %d) is %q, want %q", tc.line, tc.width, got, tc.want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	var out strings.Builder
	l := &lines{out: &out}
	v := someView()
	v.moves = v.moves[:1]
	l.draw(v)
	once := out.String()
	l.draw(v)
	if out.String() != once {
		t.Errorf("said again although nothing changed:\n%s", strings.TrimPrefix(out.String(), once))
	}
	for _, want := range []string{"http://127.0.0.1:9590", "http://127.0.0.1:9090/api/v1/targets", "1 target from pair-1 to pair-0", "settled: pair-0 active 33, pair-1 killed, noticed 0, pair-2 joining 27"} {
		if !strings.Contains(once, want) {
			t.Errorf("does not say %q:\n%s", want, once)
		}
	}
}
