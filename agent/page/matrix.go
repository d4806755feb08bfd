package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringside-project/ringside/gossip"
)

const (
	// wholeMatrix is up to how many members all rows and columns are shown; of more, as many of those that differ.
	wholeMatrix = 16
	// staleAnswer is the age from which on an answer is of the past: answers are kept while nobody looks.
	staleAnswer = 30 * time.Second
)

// current tells whether the answer says how the member sees the cluster now.
func (a Answer) current(now time.Time) bool { return a.Problem == "" && now.Sub(a.At) < staleAnswer }

// matrix is who says what of whom: a split brain shows in it from any member.
type matrix struct {
	Columns []string
	Rows    []matrixRow
	Summary string // in words
	Dead    string // who is taken for dead here, in words
	Split   bool   // somebody disagrees
	Part    bool   // not all rows and columns are shown

	disputes []dispute
}

// Dense tells whether there is room for glyphs alone.
func (x matrix) Dense() bool { return len(x.Columns) > 6 }

// matrixRow is what one member says.
type matrixRow struct {
	Name   string
	Self   bool
	View   string
	Other  bool   // view than this member's
	Note   string // where the row comes from
	Silent bool   // there is no answer: the view is the one that it gossips, and Cells are empty
	Cells  []cell
}

// cell is what a member says of another.
type cell struct {
	State gossip.State // empty: it does not know of it
	Odd   bool         // this member says otherwise
}

// Glyph stands for the state where there is no room for its name.
func (c cell) Glyph() string {
	switch c.State {
	case gossip.Active:
		return "✓"
	case gossip.Joining:
		return "…"
	case gossip.Unready:
		return "!"
	case gossip.Draining:
		return "↓"
	case gossip.Left:
		return "←"
	case gossip.Dead:
		return "✕"
	}
	return "–"
}

// Word is the state, for whoever does not see the glyph.
func (c cell) Word() string {
	if c.State == "" {
		return "unknown"
	}
	return string(c.State)
}

// dispute is that a member takes another for alive that this one does not, or the other way round.
type dispute struct{ by, text string }

func newMatrix(m *Model) matrix {
	own := map[string]gossip.State{}
	for _, member := range m.Members {
		own[member.Name] = member.State
	}
	x := matrix{Columns: columnNames(m, own), Dead: deadOf(m.Members)}
	odd := make([]bool, len(x.Columns))
	asked, agree, silent := 0, 0, 0 // of those that should answer
	for _, member := range m.Members {
		if member.State == gossip.Left {
			continue
		}
		row := newRow(m, member)
		says := m.Answers[member.Name].States
		if row.Self {
			says = own
		}
		same := !row.Other
		for i, name := range x.Columns {
			if row.Silent {
				break
			}
			c := cell{State: says[name], Odd: says[name] != own[name]}
			row.Cells = append(row.Cells, c)
			odd[i], same = odd[i] || c.Odd, same && !c.Odd
			if c.Odd {
				x.contradict(member.Name, name, c.State, own[name])
			}
		}
		if !row.Silent || member.State != gossip.Dead {
			asked++
		}
		switch {
		case row.Silent && member.State != gossip.Dead:
			silent++
		case !row.Silent && same:
			agree++
		}
		x.Split = x.Split || !row.Silent && !same
		x.Rows = append(x.Rows, row)
	}
	x.summarise(asked, agree, silent)
	x.cut(odd)
	return x
}

// columnNames are those of all members that anybody knows of, a bounded number of them: others may say what they like.
func columnNames(m *Model, own map[string]gossip.State) []string {
	all := maps.Clone(own)
	for _, a := range m.Answers {
		for name, s := range a.States {
			if len(all) < len(own)+wholeMatrix && !gone(s) && a.current(m.Now) {
				all[name] = s
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func newRow(m *Model, member gossip.Member) matrixRow {
	row := matrixRow{Name: member.Name, Self: member.Name == m.Gossip.Self, View: hex(member.View)}
	view := ownView(m)
	a, asked := m.Answers[member.Name]
	switch {
	case row.Self:
		row.Note = "this member"
	case !asked || a.At.IsZero():
		row.Silent, row.Note = true, "no answer yet"
	case a.Problem != "":
		row.Silent, row.Note = true, fmt.Sprintf("%s (%s)", shown(a.Problem), ago(m.Now, a.At))
	case !a.current(m.Now):
		row.Silent, row.Note = true, fmt.Sprintf("asked again: it answered last %s", ago(m.Now, a.At))
	default:
		row.View, row.Note = a.View, ago(m.Now, a.At)
	}
	if row.Silent && member.State == gossip.Dead {
		row.View = ""
	}
	row.Other = !gone(member.State) && row.View != hex(view)
	return row
}

func (x *matrix) contradict(by, of string, says, own gossip.State) {
	if says == gossip.Left || own == gossip.Left {
		return // the good-bye is on its way
	}
	knows := says != "" && !gone(says)
	known := own != "" && !gone(own)
	switch {
	case knows && !known && own == "":
		x.disputes = append(x.disputes, dispute{by, fmt.Sprintf("%s sees %s, which this member does not know", shown(by), shown(of))})
	case knows && !known:
		x.disputes = append(x.disputes, dispute{by, fmt.Sprintf("%s sees %s as %s, this member as %s", shown(by), shown(of), says, own)})
	case known && !knows:
		x.disputes = append(x.disputes, dispute{by, fmt.Sprintf("%s sees %s as %s", shown(by), shown(of), cell{State: says}.Word())})
	}
}

// summarise counts this member among those that agree.
func (x *matrix) summarise(asked, agree, silent int) {
	if asked == agree {
		x.Summary = fmt.Sprintf("%s the same of all, and with the same view.", plural(agree, "member says", "members say"))
		return
	}
	var others []string
	for _, o := range []struct {
		n               int
		one, many, what string
	}{{agree - 1, "says", "say", "the same as this one"}, {asked - agree - silent, "says", "say", "otherwise"}, {silent, "has", "have", "not answered"}} {
		if o.n > 0 {
			others = append(others, plural(o.n, o.one, o.many)+" "+o.what)
		}
	}
	x.Summary = fmt.Sprintf("Of the other members %s.", strings.Join(others, ", "))
}

// deadOf names those that are taken for dead, the first of many; empty: nobody is.
func deadOf(members []gossip.Member) string {
	var names []string
	for _, member := range members {
		if member.State == gossip.Dead {
			names = append(names, shown(member.Name))
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0] + " is dead"
	}
	return several(names, maxReasons) + " are dead"
}

// cut leaves of a large matrix what is worth a look.
func (x *matrix) cut(odd []bool) {
	if x.Part = len(x.Columns) > wholeMatrix; !x.Part {
		return
	}
	var columns []int
	for i := range x.Columns {
		if odd[i] && len(columns) < wholeMatrix {
			columns = append(columns, i)
		}
	}
	rows := x.Rows[:0]
	for _, r := range x.Rows {
		differs := r.Silent || r.Other || slices.ContainsFunc(r.Cells, func(c cell) bool { return c.Odd })
		if !r.Self && (!differs || len(rows) >= wholeMatrix) {
			continue
		}
		var cells []cell
		for _, i := range columns {
			if !r.Silent {
				cells = append(cells, r.Cells[i])
			}
		}
		r.Cells = cells
		rows = append(rows, r)
	}
	names := make([]string, 0, len(columns))
	for _, i := range columns {
		names = append(names, x.Columns[i])
	}
	x.Columns, x.Rows = names, rows
}
