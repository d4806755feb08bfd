package plan_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/uploader/plan"
)

// sample is one of a block that was cut from a head.
type sample struct {
	leaf ulid.ULID
	t    int64
}

// world is a Prometheus, its data directory, the staged blocks and a bucket.
type world struct {
	t       *rapid.T
	local   map[ulid.ULID]plan.Block
	staged  map[ulid.ULID]plan.Block
	remote  []plan.Remote
	done    map[ulid.ULID]bool
	holds   map[ulid.ULID][]sample  // of blocks on this side
	stored  map[ulid.ULID][]sample  // of those in the bucket
	marked  map[ulid.ULID]bool      // blocks in the bucket that a compactor leaves alone
	fresh   map[ulid.ULID]time.Time // until when it does not look at them
	delay   time.Duration           // for how long it does not
	joining []plan.Remote           // what a compactor is at
	cutAll  []sample                // of all blocks that were ever cut
	refused map[ulid.ULID]bool
	late    map[sample]bool // for which the bucket has blocks already, as the plan says

	window time.Duration
	now    time.Time
	closed bool
	serial int
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, local: map[ulid.ULID]plan.Block{}, staged: map[ulid.ULID]plan.Block{}, done: map[ulid.ULID]bool{},
		holds: map[ulid.ULID][]sample{}, stored: map[ulid.ULID][]sample{}, marked: map[ulid.ULID]bool{}, fresh: map[ulid.ULID]time.Time{}, refused: map[ulid.ULID]bool{}, late: map[sample]bool{}, now: time.UnixMilli(at(0)),
	}
}

func (w *world) id() ulid.ULID {
	w.serial++
	u := id(fmt.Sprintf("%d", w.serial), 0)
	if err := u.SetTime(uint64(w.now.UnixMilli())); err != nil {
		w.t.Fatal(err)
	}
	return u
}

// cut makes a block of the head with samples drawn from its span.
func (w *world) cut(span plan.Span, kind plan.Kind) {
	b := plan.Block{ID: w.id(), Span: span, Samples: 1, Kind: kind, Labels: "{}", Cut: w.now}
	for _, at := range rapid.SliceOfNDistinct(rapid.Int64Range(span.Min, span.Max-1), 1, 4, rapid.ID).Draw(w.t, "samples") {
		w.holds[b.ID] = append(w.holds[b.ID], sample{b.ID, at})
	}
	w.cutAll = append(w.cutAll, w.holds[b.ID]...)
	w.local[b.ID] = b
}

// compact joins local blocks that are neighbours, as Prometheus does.
func (w *world) compact(delayed bool) {
	blocks := slices.SortedFunc(maps.Values(w.local), func(a, b plan.Block) int {
		return cmp.Or(cmp.Compare(a.Span.Min, b.Span.Min), a.ID.Compare(b.ID))
	})
	blocks = slices.DeleteFunc(blocks, func(b plan.Block) bool { return delayed && !w.done[b.ID] && len(b.Origins) == 0 })
	if len(blocks) < 2 {
		return
	}
	from := rapid.IntRange(0, len(blocks)-2).Draw(w.t, "first")
	blocks = blocks[from:min(from+rapid.IntRange(2, 3).Draw(w.t, "joined"), len(blocks))]
	c := plan.Block{ID: w.id(), Span: blocks[0].Span, Samples: 1, Labels: "{}", Cut: w.now, Kind: plan.OutOfOrder}
	for _, b := range blocks {
		origins := b.Origins
		if len(origins) == 0 {
			origins = []ulid.ULID{b.ID}
		}
		c.Origins = append(c.Origins, origins...)
		c.Span = plan.Span{Min: min(c.Span.Min, b.Span.Min), Max: max(c.Span.Max, b.Span.Max)}
		if b.Kind == plan.InOrder {
			c.Kind = plan.InOrder
		}
		w.holds[c.ID] = append(w.holds[c.ID], w.holds[b.ID]...)
		delete(w.local, b.ID)
	}
	w.local[c.ID] = c
}

// plan gives the plan of now, and what it was made from.
func (w *world) plan() (plan.Plan, map[ulid.ULID]plan.Block) {
	here := maps.Clone(w.local)
	maps.Copy(here, w.staged)
	in := plan.Input{Remote: w.remote, Done: w.done, OutOfOrderWindow: w.window, Closed: w.closed, Now: w.now}
	in.Blocks = slices.Collect(maps.Values(here))
	return plan.Make(in), here
}

// pass stages, settles and carries out some of the uploads; then it may be
// killed.
func (w *world) pass(all bool) {
	p, here := w.plan()
	for u := range p.Keep {
		w.staged[u] = here[u]
	}
	for u, v := range p.Verdicts {
		if v.LeftOut {
			w.leave(u)
		}
		switch v.State {
		case plan.Due, plan.Waiting, plan.Held:
			w.staged[u] = here[u]
		case plan.Up, plan.Covered:
			w.done[u] = true
			if !p.Keep[u] {
				delete(w.staged, u)
			}
		case plan.Refused:
			w.refused[u] = true
		}
	}
	for _, u := range p.Uploads {
		if !all && rapid.IntRange(0, 2).Draw(w.t, "is it done") == 0 {
			continue
		}
		w.carry(u)
	}
}

// carry does one upload: of a merge, only the merge.
func (w *world) carry(u plan.Upload) {
	var held []sample
	kind := plan.OutOfOrder
	for _, b := range u.Blocks {
		s := w.staged[b]
		if s.ID != b {
			w.t.Fatalf("%s is not staged, and %v needs it", name(b), u)
		}
		for _, x := range w.holds[b] {
			if x.t >= u.Span.Min && x.t < u.Span.Max && !slices.Contains(held, x) {
				held = append(held, x)
			}
		}
		if s.Kind == plan.InOrder {
			kind = s.Kind
		}
	}
	if u.AsIs {
		s := w.staged[u.Blocks[0]]
		sources, of := s.Sources, s.Origins
		if of == nil {
			of = []ulid.ULID{s.ID}
		}
		if sources == nil {
			sources = of
		}
		for _, r := range u.Replaces {
			w.marked[r] = true
		}
		w.fresh[s.ID] = w.now.Add(w.delay)
		w.put(plan.Remote{ID: s.ID, Span: u.Span, Sources: sources, Of: of, Labels: "{}", InOrder: kind == plan.InOrder}, held)
		return
	}
	if len(held) == 0 {
		w.put(plan.Remote{Span: u.Span, Of: u.Of, Labels: "{}"}, nil)
		return
	}
	m := plan.Block{ID: w.id(), Span: u.Span, Samples: 1, Kind: kind, Origins: u.Of, Sources: u.Sources, Labels: "{}", Merged: true, Cut: w.now}
	if slices.ContainsFunc(u.Of, func(id ulid.ULID) bool { return !slices.Contains(u.Sources, id) }) {
		m.Sources = append(slices.Clone(u.Sources), m.ID)
	} else {
		m.Origins = u.Sources
	}
	w.staged[m.ID], w.holds[m.ID] = m, held
}

// crash forgets what is not on disk; a lost cache is one of the things.
func (w *world) crash() {
	if rapid.Bool().Draw(w.t, "the cache is lost") {
		w.done = map[ulid.ULID]bool{}
	}
	w.remote = slices.DeleteFunc(w.remote, func(r plan.Remote) bool { return r.ID == ulid.ULID{} })
}

// converge passes until nothing is to be done.
func (w *world) converge() {
	for range 20 {
		p, _ := w.plan()
		w.pass(true)
		if len(p.Uploads) == 0 {
			return
		}
	}
	w.t.Fatal("it goes on and on")
}

// checkInTime fails if a block was put up before all of its time had been cut.
func (w *world) checkInTime() {
	if len(w.marked) > 0 {
		w.t.Errorf("%d blocks went up too early, and were replaced", len(w.marked))
	}
}

// checkStored fails unless Thanos finds each sample once.
func (w *world) checkStored(want []sample) {
	count := map[sample]int{}
	for _, r := range visible(w.remote) {
		for _, s := range w.stored[r.ID] {
			count[s]++
		}
	}
	for _, s := range want {
		if count[s] == 0 {
			w.t.Errorf("sample %d of %s is not in the bucket", s.t, name(s.leaf))
		}
	}
	for s, n := range count {
		if n > 1 {
			w.t.Errorf("sample %d of %s is in the bucket %d times", s.t, name(s.leaf), n)
		}
	}
}

// TestAllOfAPrometheus lives through days of a Prometheus that cuts blocks as
// Prometheus does: whatever is interrupted, each of its samples is in the bucket
// once at the end, and nothing is refused.
func TestAllOfAPrometheus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.delay = time.Duration(rapid.SampledFrom([]int{0, 30}).Draw(t, "consistency delay")) * time.Minute
		w.window = time.Duration(rapid.SampledFrom([]int{0, 30, 120, 300}).Draw(t, "out-of-order window")) * time.Minute
		delayed := rapid.Bool().Draw(t, "compaction waits for uploads")
		compacts := delayed || w.window == 0
		for k := range rapid.IntRange(1, 6).Draw(t, "windows") {
			w.live(k)
			for range rapid.IntRange(0, 3).Draw(t, "passes") {
				w.pass(false)
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "minutes later")) * time.Minute)
				switch rapid.IntRange(0, 3).Draw(t, "then") {
				case 0:
					w.crash()
				case 1:
					if compacts {
						w.compact(delayed)
					}
				case 2:
					w.compactor()
				}
			}
		}
		w.checkInTime()
		w.closed = true
		w.converge()
		w.checkStored(w.cutAll)
		if len(w.refused) > 0 {
			t.Errorf("refused: %v", w.refused)
		}
	})
}

// live lets window k end: early blocks of it first, then, at an hour and a half
// times its length, the in-order one, and out-of-order ones a little later.
func (w *world) live(k int) {
	span := plan.Span{Min: at(float64(2 * k)), Max: at(float64(2*k + 2))}
	if rapid.IntRange(0, 3).Draw(w.t, "early") == 0 {
		w.now = time.UnixMilli(span.Min + hour)
		w.cut(span, plan.Early)
		w.pass(false)
	}
	w.now = time.UnixMilli(span.Max + hour)
	first := span.Min + rapid.Int64Range(0, hour).Draw(w.t, "its first sample")
	w.cut(plan.Span{Min: first, Max: span.Max}, plan.InOrder)
	if w.window == 0 {
		return
	}
	if rapid.Bool().Draw(w.t, "a pass between") {
		w.pass(false)
	}
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 9).Draw(w.t, "minutes for out-of-order blocks")) * time.Minute)
	// Since the last cut the head went from an hour before the window's end to
	// an hour after it.
	oldest := max(0, (span.Max-hour-w.window.Milliseconds()-at(0))/(2*hour))
	for j := oldest; j <= int64(k)+1; j++ {
		if rapid.IntRange(0, 2).Draw(w.t, "late samples") == 0 {
			w.cut(plan.Span{Min: at(float64(2 * j)), Max: at(float64(2*j + 2))}, plan.OutOfOrder)
		}
	}
}

// TestAnyBlocks throws blocks of any span and kind at a bucket that may hold
// some of others: nothing that reaches it overlaps, and what is neither refused
// nor left out is in it once.
func TestAnyBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.now = time.UnixMilli(at(30))
		w.delay = time.Duration(rapid.SampledFrom([]int{0, 30}).Draw(t, "consistency delay")) * time.Minute
		first := float64(rapid.SampledFrom([]int{0, 13}).Draw(t, "first hour")) // a compactor's range of 48 h ends in hour 24
		span := rapid.Custom(func(t *rapid.T) plan.Span {
			from := rapid.Int64Range(0, 20).Draw(t, "from")
			return plan.Span{Min: at(first + float64(from)/2), Max: at(first + float64(from+rapid.Int64Range(1, 8).Draw(t, "length"))/2)}
		})
		for range rapid.IntRange(0, 2).Draw(t, "of others") {
			r := plan.Remote{ID: w.id(), Span: span.Draw(t, "other"), Labels: "{}"}
			r.Sources = []ulid.ULID{r.ID}
			r.Of = r.Sources
			if !slices.ContainsFunc(w.remote, func(o plan.Remote) bool { return o.Span.Min < r.Span.Max && r.Span.Min < o.Span.Max }) {
				w.remote = append(w.remote, r)
			}
		}
		others := slices.Clone(w.remote)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			w.cut(span.Draw(t, "span"), rapid.SampledFrom([]plan.Kind{plan.InOrder, plan.OutOfOrder, plan.Early}).Draw(t, "kind"))
			w.closed = rapid.Bool().Draw(t, "closed")
			w.pass(false)
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes later")) * time.Minute)
			switch rapid.IntRange(0, 4).Draw(t, "then") {
			case 0:
				w.crash()
			case 1:
				w.compact(rapid.Bool().Draw(t, "delayed"))
			case 2:
				w.compactor()
			}
		}
		w.closed = true
		w.converge()
		var want []sample
		for _, s := range w.cutAll {
			taken := slices.ContainsFunc(others, func(o plan.Remote) bool { return s.t >= o.Span.Min && s.t < o.Span.Max })
			if !taken && !w.refusedWith(s.leaf) && !w.late[s] {
				want = append(want, s)
			}
		}
		w.checkStored(want)
	})
}

// refusedWith tells whether a block that has the leaf's samples was refused.
func (w *world) refusedWith(leaf ulid.ULID) bool {
	for u := range w.refused {
		if slices.ContainsFunc(w.holds[u], func(s sample) bool { return s.leaf == leaf }) {
			return true
		}
	}
	return false
}

// leave notes which samples of a block come too late: the bucket has blocks of
// their time.
func (w *world) leave(u ulid.ULID) {
	for _, s := range w.holds[u] {
		for _, r := range w.remote {
			if s.t >= r.Span.Min && s.t < r.Span.Max {
				w.late[s] = true
			}
		}
	}
}
