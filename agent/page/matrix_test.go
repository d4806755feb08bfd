package page_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/gossip"
)

func TestMatrix(t *testing.T) {
	m := healthy(4, 60)
	delete(m.Answers, "member-1")
	m.Answers["member-2"] = page.Answer{At: now.Add(-2 * time.Second), Problem: "slow: no answer within 1s"}
	m.Answers["member-3"] = page.Answer{At: now, View: "0123456789abcdef", States: map[string]gossip.State{"member-3": gossip.Active, "member-0": gossip.Dead}}
	_, doc := render(t, m)
	want := []string{
		"says ↓ of → member-0 member-1 member-2 member-3 View Answered",
		"member-0 ✓ active ✓ active ✓ active ✓ active abcdef01 this member",
		"member-1 no answer yet abcdef01 by gossip",
		"member-2 slow: no answer within 1s (2 s ago) abcdef01 by gossip",
		"member-3 ✕ dead – unknown – unknown ✓ active 01234567 differs just now",
	}
	if got := rows(doc, "views"); !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if got := inside(doc, "views"); !strings.Contains(got, "✕ Of the other members 1 says otherwise, 2 have not answered.") {
		t.Errorf("%q", got)
	}
}

// TestOldAnswers: what was said before anybody looked is no contradiction.
func TestOldAnswers(t *testing.T) {
	m := healthy(3, 60)
	for name := range m.Answers {
		m.Answers[name] = page.Answer{At: now.Add(-4 * time.Minute), View: "1", States: map[string]gossip.State{"member-0": gossip.Dead, "ghost": gossip.Active}}
	}
	_, doc := render(t, m)
	want := []string{
		"says ↓ of → member-0 member-1 member-2 View Answered",
		"member-0 ✓ active ✓ active ✓ active abcdef01 this member",
		"member-1 asked again: it answered last 4 min ago abcdef01 by gossip",
		"member-2 asked again: it answered last 4 min ago abcdef01 by gossip",
	}
	if got := rows(doc, "views"); !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if got := inside(doc, "views"); strings.Contains(got, "✕") || !strings.Contains(got, "Of the other members 2 have not answered.") {
		t.Errorf("%q", got)
	}
}

// TestDeadMemberInMatrix: whether one that is taken for dead hangs, or has gone,
// is worth knowing.
func TestDeadMemberInMatrix(t *testing.T) {
	m := healthy(2, 60)
	m.Members[1].State = gossip.Dead
	m.Answers["member-1"] = page.Answer{At: now, Problem: "no connection"}
	_, doc := render(t, m)
	if got := inside(doc, "views"); !strings.Contains(got, "1 member says the same of all, and with the same view. ✕ member-1 is dead.") {
		t.Errorf("%q", got)
	}
	if got := rows(doc, "views")[2]; got != "member-1 no connection (just now) –" {
		t.Errorf("%q", got)
	}
}

// TestLargeMatrix: of many members only those are listed that differ.
func TestLargeMatrix(t *testing.T) {
	m := healthy(100, 1000)
	m.Answers["member-7"] = page.Answer{At: now, View: view, States: map[string]gossip.State{"member-8": gossip.Active}}
	_, doc := render(t, m)
	if got := inside(doc, "views"); !strings.Contains(got, "Of the other members 98 say the same as this one, 1 says otherwise. Only what differs is listed") {
		t.Errorf("%q", got)
	}
	got := rows(doc, "views")
	if len(got) != 3 || strings.Count(got[0], "member-") != 16 || !strings.HasPrefix(got[1], "member-0 ✓ active") || !strings.HasPrefix(got[2], "member-7 – unknown") {
		t.Errorf("%q", got)
	}
	m = healthy(100, 1000)
	m.Gossip.Self = "member-99"
	for i := range 40 {
		m.Answers[fmt.Sprintf("member-%d", i)] = page.Answer{At: now, Problem: "slow"}
	}
	text, doc := render(t, m)
	if got := inside(doc, "views"); strings.Count(got, "slow (just now)") != 16 || !strings.Contains(got, "this member") || strings.Contains(text, `colspan="0"`) {
		t.Errorf("%q", got)
	}
}
