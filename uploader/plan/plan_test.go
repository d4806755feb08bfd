package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/plan"
)

const hour = int64(time.Hour / time.Millisecond)

// midnight is when the tables' time starts.
var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// at is so many hours after midnight, in ms.
func at(hours float64) int64 { return midnight.UnixMilli() + int64(hours*float64(hour)) }

// id is the block of that name, cut at that many hours after midnight.
func id(name string, hours float64) ulid.ULID {
	var u ulid.ULID
	if err := u.SetTime(uint64(at(hours))); err != nil {
		panic(err)
	}
	copy(u[6:], name)
	return u
}

func name(u ulid.ULID) string { return strings.TrimRight(string(u[6:]), "\x00") }

// cut is a block of the named kind over [from, until), cut when Prometheus
// would: an hour after its window ended.
func cut(label string, from, until float64, change ...func(*plan.Block)) plan.Block {
	b := plan.Block{ID: id(label, until+1), Span: plan.Span{Min: at(from), Max: at(until)}, Samples: 1, Labels: "{}"}
	for _, c := range change {
		c(&b)
	}
	b.Cut = ulid.Time(b.ID.Time())
	return b
}

func late(b *plan.Block)  { b.Kind = plan.OutOfOrder }
func early(b *plan.Block) { b.Kind = plan.Early }

func when(hours float64) func(*plan.Block) {
	return func(b *plan.Block) { b.ID = id(name(b.ID), hours) }
}

func of(blocks ...plan.Block) func(*plan.Block) {
	return func(b *plan.Block) {
		for _, o := range blocks {
			b.Origins = append(b.Origins, o.ID)
		}
	}
}

// up is a block of the bucket, made of those.
func up(label string, from, until float64, sources ...plan.Block) plan.Remote {
	r := plan.Remote{ID: id(label, until+1), Span: plan.Span{Min: at(from), Max: at(until)}, Labels: "{}", InOrder: true}
	for _, s := range sources {
		r.Sources = append(r.Sources, s.ID)
	}
	if len(sources) == 1 && name(sources[0].ID) == label {
		r.ID = sources[0].ID
	}
	if len(r.Sources) == 0 {
		r.Sources = []ulid.ULID{r.ID}
	}
	r.Of = r.Sources
	return r
}

// part makes r a block that was made of parts of those.
func part(r plan.Remote) plan.Remote {
	r.Of = append([]ulid.ULID{r.ID}, r.Sources...)
	r.Sources = []ulid.ULID{r.ID}
	return r
}

var stateNames = map[plan.State]string{
	plan.Due: "due", plan.Waiting: "waiting", plan.Held: "held", plan.Parts: "parts", plan.Within: "within",
	plan.Up: "up", plan.Covered: "covered", plan.Refused: "refused",
}

// told writes a plan in a line: the uploads, then the other blocks' states.
func told(p plan.Plan) string {
	var words []string
	for _, u := range p.Uploads {
		var names []string
		for _, b := range u.Blocks {
			names = append(names, name(b))
		}
		verb := "merge"
		if u.AsIs {
			verb = "upload"
		}
		word := fmt.Sprintf("%s %s [%g,%g)", verb, strings.Join(names, "+"), float64(u.Span.Min-at(0))/float64(hour), float64(u.Span.Max-at(0))/float64(hour))
		if len(u.Replaces) > 0 {
			word += " for"
		}
		for _, r := range u.Replaces {
			word += " " + name(r)
		}
		words = append(words, word)
	}
	var rest []string
	for b, v := range p.Verdicts {
		if v.State != plan.Due {
			rest = append(rest, name(b)+" "+stateNames[v.State])
		}
	}
	slices.Sort(rest)
	return strings.Join(append(words, rest...), ", ")
}

func TestMake(t *testing.T) {
	a, b, c := cut("a", 0, 2), cut("b", 2, 4), cut("c", 4, 6)
	o := cut("o", 0, 2, late, when(5.01))
	e := cut("e", 0, 2, early, when(1))
	compacted := cut("m", 0, 4, of(a, b), when(6))
	late2 := cut("p", 0, 2, late, when(5.02))
	both := cut("m", 0, 2, of(a, o), when(6), func(b *plan.Block) { b.Merged = true })
	half := cut("h", 0, 1)
	quarter := part(up("q", 1, 2, half, o))
	merged := func(name string, first, second ulid.ULID, from plan.Block) plan.Block { // of which it has all samples
		return cut(name, 0, 2, of(from, o), when(6), func(b *plan.Block) { b.Merged, b.Sources = true, []ulid.ULID{first, second} })
	}
	type change = func(*plan.Input)
	window := func(d time.Duration, more ...change) change {
		return func(in *plan.Input) {
			in.OutOfOrderWindow = d
			for _, c := range more {
				c(in)
			}
		}
	}
	now := func(hours float64) change { return func(in *plan.Input) { in.Now = time.UnixMilli(at(hours)) } }
	closed := func(in *plan.Input) { in.Closed = true }
	for _, tc := range []struct {
		what   string
		blocks []plan.Block
		remote []plan.Remote
		change func(*plan.Input)
		want   string
	}{
		{"nothing", nil, nil, nil, ""},
		{"in-order blocks go up at once", []plan.Block{a, b}, nil, nil, "upload a [0,2), upload b [2,4)"},
		{"one that is up", []plan.Block{a, b}, []plan.Remote{up("a", 0, 2, a)}, nil, "upload b [2,4), a up"},
		{"one that a compactor has joined with others", []plan.Block{a, b}, []plan.Remote{up("x", 0, 8, a, cut("g", 6, 8))}, nil, "a covered, b refused"},
		{"the cache is enough", []plan.Block{a}, nil, func(in *plan.Input) { in.Done = map[ulid.ULID]bool{a.ID: true} }, "a up"},
		{"of other labels they may overlap", []plan.Block{a}, []plan.Remote{{ID: id("x", 3), Span: a.Span, Labels: "{x}"}}, nil, "upload a [0,2)"},
		{"downsampled they may overlap", []plan.Block{a}, []plan.Remote{{ID: id("x", 3), Span: a.Span, Labels: "{}", Downsampled: true}}, nil, "upload a [0,2)"},
		{"hold", []plan.Block{a, b}, []plan.Remote{up("b", 2, 4, b)}, func(in *plan.Input) { in.Hold = "no labels" }, "a held, b up"},

		{"another's block", []plan.Block{a}, []plan.Remote{up("x", 0, 2)}, nil, "a refused"},
		{"the part that another's block leaves", []plan.Block{a}, []plan.Remote{up("x", -1, 0.5)}, nil, "merge a [0.5,2)"},
		{"the parts around another's block", []plan.Block{a}, []plan.Remote{up("x", 0.5, 1)}, nil, "merge a [0,0.5), merge a [1,2)"},
		{"the last part, after a crash", []plan.Block{a}, []plan.Remote{up("x", 0.5, 1), part(up("y", 0, 0.5, a))}, nil, "merge a [1,2)"},
		{"all parts", []plan.Block{a}, []plan.Remote{up("x", 0.5, 1), part(up("y", 0, 0.5, a)), part(up("z", 1, 2, a))}, nil, "a covered"},

		{"with a window they wait for what is cut after them", []plan.Block{a}, nil, window(time.Hour, now(3.1)), "a waiting"},
		{"not for more: the head had left the window behind", []plan.Block{a}, nil, window(time.Hour, now(3.2)), "upload a [0,2)"},
		{"unless a flush cut it", []plan.Block{cut("a", 0, 2, when(2.5))}, nil, window(time.Hour), "a waiting"},
		{"and the next is there", []plan.Block{cut("a", 0, 2, when(2.5)), b}, nil, window(time.Hour), "upload a [0,2), upload b [2,4)"},
		{"with a longer window they wait", []plan.Block{a}, nil, window(61 * time.Minute), "a waiting"},
		{"for the next, long enough ago", []plan.Block{a, b}, nil, window(3*time.Hour, now(5.2)), "upload a [0,2), b waiting"},
		{"too short a while ago", []plan.Block{a, b}, nil, window(3*time.Hour, now(5.1)), "a waiting, b waiting"},
		{"a window of more than that", []plan.Block{a, b, c}, nil, window(181*time.Minute, now(9)), "upload a [0,2), b waiting, c waiting"},
		{"when Prometheus has gone", []plan.Block{a, o}, nil, window(time.Hour, closed), "merge a+o [0,2)"},
		{"late samples are merged", []plan.Block{a, o, b}, nil, window(2*time.Hour, now(6)), "merge a+o [0,2), b waiting"},
		{"of a window that is off now too", []plan.Block{a, o, b}, nil, now(6), "merge a+o [0,2), upload b [2,4)"},
		{"too late ones replace what is up", []plan.Block{a, o, b}, []plan.Remote{up("a", 0, 2, a)}, now(6), "merge a+o [0,2) for a, upload b [2,4), a up"},
		{"once they are merged", []plan.Block{a, o, both}, []plan.Remote{up("a", 0, 2, a)}, closed, "upload m [0,2) for a, a up, o within"},
		{"and up", []plan.Block{a, o, both}, []plan.Remote{up("a", 0, 2, a), up("m", 0, 2, a, o)}, closed, "a up, m covered, o covered"},
		{"more come late", []plan.Block{a, o, late2}, []plan.Remote{up("a", 0, 2, a), up("m", 0, 2, a, o)}, closed, "merge a+o+p [0,2) for m, a up, o covered"},
		{"too late ones wait for more", []plan.Block{a, o}, []plan.Remote{up("a", 0, 2, a)}, window(2 * time.Hour), "a up, o waiting"},
		{"only for the time that is not free too", []plan.Block{cut("a", 0, 1), o}, []plan.Remote{up("a", 0, 1, cut("a", 0, 1))}, closed, "merge a+o [0,2) for a, a up"},
		{"what is up is not here", []plan.Block{o}, []plan.Remote{up("a", 0, 2, a)}, closed, "o refused"},
		{"what is up is here in a larger one", []plan.Block{o, compacted}, []plan.Remote{up("a", 0, 2, a), up("b", 2, 4, b)}, closed, "merge o+m [0,2) for a, m covered"},
		{"what is up is corrupt here", []plan.Block{cut("a", 0, 2, func(b *plan.Block) { b.Unfit = "corrupt" }), o}, []plan.Remote{up("a", 0, 2, a)}, closed, "a up, o refused"},
		{"what is up has been joined with others here", []plan.Block{a, b, o}, []plan.Remote{up("x", 0, 4, a, b)}, closed, "merge a+o+b [0,4) for x, a covered, b covered"},
		{"with others that are not here", []plan.Block{a, o}, []plan.Remote{up("x", 0, 4, a, b)}, closed, "a covered, o refused"},
		{"what is up may be joined with others", []plan.Block{a, b, o}, []plan.Remote{up("a", 0, 2, a), up("b", 2, 4, b), up("y", 8, 10)}, closed, "merge a+o+b [0,4) for a b, a up, b up"},
		{"with others that are not here, either", []plan.Block{a, o}, []plan.Remote{up("a", 0, 2, a), up("b", 2, 4, b), up("y", 8, 10)}, closed, "a up, o refused"},
		{"with others over days", []plan.Block{a, o}, []plan.Remote{up("a", 0, 2, a), up("x", 8, 16), up("y", 48, 50)}, func(in *plan.Input) { in.Closed, in.Now = true, time.UnixMilli(at(60)) }, "a up, o refused"},
		{"parts of it may be joined", []plan.Block{cut("a", 0, 1), cut("b", 1, 2), o}, []plan.Remote{up("a", 0, 1, cut("a", 0, 1)), up("b", 1, 2, cut("b", 1, 2))}, closed, "merge a+o+b [0,2) for a b, a up, b up"},
		{"with others over days, once some are joined", []plan.Block{a, b, o}, []plan.Remote{up("x", -4, -2), up("a", 0, 2, a), up("b", 2, 4, b), up("z", 24, 26)}, func(in *plan.Input) { in.Closed, in.Now = true, time.UnixMilli(at(60)) }, "a up, b up, o refused"},
		{"merged here, beside time that has nothing", []plan.Block{a, half, merged("m", half.ID, id("m", 0), a)}, []plan.Remote{up("h", 0, 1, half), {Span: plan.Span{Min: at(1), Max: at(2)}, Of: []ulid.ULID{a.ID, o.ID}, Labels: "{}"}}, closed, "upload m [0,2) for h, a within, h up"},
		{"merged here, when a part of an earlier one was up", []plan.Block{half, o, merged("m", half.ID, o.ID, half), merged("n", half.ID, quarter.ID, half)}, []plan.Remote{up("h", 0, 1, half), quarter}, closed, "upload n [0,2) for h q, h up, m within, o within"},
		{"early series wait", []plan.Block{e}, nil, nil, "e waiting"},
		{"for all of their window", []plan.Block{e, cut("a", 0, 1.5, when(9))}, nil, nil, "a waiting, e waiting"},
		{"for the rest of their window", []plan.Block{e, a}, nil, nil, "merge e+a [0,2)"},
		{"or a later one", []plan.Block{e, b}, nil, nil, "upload e [0,2), upload b [2,4)"},

		{"compacted, the parts at hand", []plan.Block{a, b, compacted}, nil, nil, "upload a [0,2), upload b [2,4), m parts"},
		{"compacted, the parts up", []plan.Block{compacted}, []plan.Remote{up("a", 0, 2, a), up("b", 2, 4, b)}, nil, "m covered"},
		{"compacted, one part up, one gone", []plan.Block{compacted}, []plan.Remote{up("a", 0, 2, a)}, nil, "upload m [0,4) for a"},
		{"compacted, one part at hand, one gone", []plan.Block{compacted, a}, nil, nil, "upload m [0,4), a within"},
		{"compacted, the parts gone", []plan.Block{compacted}, nil, nil, "upload m [0,4)"},
		{"compacted from what came late and what is up", []plan.Block{cut("m", 0, 2, of(a, o), when(6))}, []plan.Remote{up("a", 0, 2, a)}, nil, "upload m [0,2) for a"},
		{"merged here", []plan.Block{a, o, both}, nil, closed, "upload m [0,2), a within, o within"},
		{"merged here, and one more came", []plan.Block{a, o, cut("p", 0, 2, late), cut("m", 0, 2, of(a, o), when(6), func(b *plan.Block) { b.Merged = true })}, nil, closed, "merge p+m [0,2), a within, o within"},
		{"merged here, but not well", []plan.Block{a, o, cut("m", 0, 2, of(a, o), when(6), func(b *plan.Block) { b.Merged, b.Unfit = true, "x" })}, nil, closed, "merge a+o [0,2), m refused"},
		{"rewritten, the old one up", []plan.Block{cut("n", 0, 2, func(b *plan.Block) { b.Replace = []ulid.ULID{a.ID} })}, []plan.Remote{up("a", 0, 2, a)}, nil, "n covered"},
		{"rewritten, the old one at hand", []plan.Block{a, cut("n", 0, 2, func(b *plan.Block) { b.Replace = []ulid.ULID{a.ID} })}, nil, nil, "upload a [0,2), n parts"},
		{"rewritten, the old one gone", []plan.Block{cut("n", 0, 2, func(b *plan.Block) { b.Replace = []ulid.ULID{a.ID} })}, nil, nil, "upload n [0,2)"},
		{"deleted samples are left out", []plan.Block{cut("a", 0, 2, func(b *plan.Block) { b.Rewrite = true })}, nil, nil, "merge a [0,2)"},

		{"empty", []plan.Block{cut("a", 0, 2, func(b *plan.Block) { b.Samples = 0 })}, nil, nil, "a covered"},
		{"unfit", []plan.Block{cut("a", 0, 2, func(b *plan.Block) { b.Unfit = "corrupt" }), b}, nil, nil, "upload b [2,4), a refused"},
		{"unfit beside others of its time", []plan.Block{a, cut("o", 0, 2, late, func(b *plan.Block) { b.Unfit = "corrupt" })}, nil, closed, "upload a [0,2), o refused"},
		{"the clock was ahead", []plan.Block{cut("f", 100, 102), b}, nil, now(8), "upload b [2,4), f refused"},
		{"the present window is none", []plan.Block{cut("o", 8, 10, late, when(9))}, nil, window(0, now(9), closed), "upload o [8,10)"},
		{"the clock was behind", []plan.Block{cut("f", -24*365*40, -24*365*40+2, when(3))}, nil, nil, "f refused"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			in := plan.Input{Blocks: slices.Clone(tc.blocks), Remote: tc.remote, Now: time.UnixMilli(at(24))}
			if tc.change != nil {
				tc.change(&in)
			}
			got := plan.Make(in)
			if told(got) != tc.want {
				t.Errorf("%s\nwant %s\n%+v", told(got), tc.want, got.Verdicts)
			}
			rand.Shuffle(len(in.Blocks), func(i, j int) { in.Blocks[i], in.Blocks[j] = in.Blocks[j], in.Blocks[i] })
			if again := plan.Make(in); told(again) != told(got) {
				t.Errorf("in another order: %s", told(again))
			}
			for u, v := range got.Verdicts {
				if v.State == plan.Refused && v.Reason == "" {
					t.Errorf("%s is refused for no reason", name(u))
				}
			}
		})
	}
}
