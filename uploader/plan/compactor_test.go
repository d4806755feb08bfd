package plan_test

import (
	"cmp"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/ringside-project/ringside/uploader/plan"
)

// visible is what Thanos reads of these blocks of the bucket, by time.
func visible(remote []plan.Remote) []plan.Remote {
	among := func(a, b plan.Remote) bool {
		return !slices.ContainsFunc(a.Sources, func(id ulid.ULID) bool { return !slices.Contains(b.Sources, id) })
	}
	seen := slices.DeleteFunc(slices.Clone(remote), func(r plan.Remote) bool {
		return r.ID == ulid.ULID{} || slices.ContainsFunc(remote, func(o plan.Remote) bool {
			return o.ID != ulid.ULID{} && among(r, o) && (len(o.Sources) > len(r.Sources) || o.ID.Compare(r.ID) < 0)
		})
	})
	slices.SortFunc(seen, func(a, b plan.Remote) int { return cmp.Or(cmp.Compare(a.Span.Min, b.Span.Min), a.ID.Compare(b.ID)) })
	return seen
}

// put adds a block to the bucket, and fails where Thanos's compactor would halt.
func (w *world) put(r plan.Remote, held []sample) {
	w.remote = append(w.remote, r)
	w.stored[r.ID] = held
	seen := visible(w.remote)
	for i, r := range seen {
		if i > 0 && r.Span.Min < seen[i-1].Span.Max {
			w.t.Fatalf("%v overlaps %v in the bucket", r, seen[i-1])
		}
	}
}

// compactor does one half of a compaction as Thanos's compactor does: it begins,
// or it ends.
func (w *world) compactor() {
	if w.joining == nil {
		w.joining = w.selectMetas()
		return
	}
	x := plan.Remote{ID: w.id(), Span: w.joining[0].Span, Labels: "{}", InOrder: true}
	var held []sample
	for _, r := range w.joining {
		x.Span.Max = max(x.Span.Max, r.Span.Max)
		x.Sources = append(x.Sources, r.Sources...)
		held = append(held, w.stored[r.ID]...)
	}
	w.joining = nil
	slices.SortFunc(x.Sources, ulid.ULID.Compare)
	x.Sources = slices.Compact(x.Sources)
	x.Of = x.Sources
	filled := slices.ContainsFunc(visible(w.remote), func(r plan.Remote) bool { // a hole, meanwhile
		return r.Span.Min < x.Span.Max && x.Span.Min < r.Span.Max && !slices.ContainsFunc(r.Sources, func(id ulid.ULID) bool { return slices.Contains(x.Sources, id) })
	})
	if !filled {
		w.put(x, held)
	}
}

// selectMetas is what a compactor would begin with, as Thanos's planner has it.
func (w *world) selectMetas() []plan.Remote {
	seen := visible(slices.DeleteFunc(slices.Clone(w.remote), func(r plan.Remote) bool { return w.now.Before(w.fresh[r.ID]) }))
	for _, size := range []int64{2 * hour, 8 * hour, 48 * hour} {
		for i := 0; i < len(seen); {
			start := seen[i].Span.Min / size * size
			n := i
			for n < len(seen) && seen[n].Span.Max <= start+size {
				n++
			}
			part := seen[i:n]
			i = max(n, i+1)
			if len(part) < 2 || part[len(part)-1].Span.Max-part[0].Span.Min != size && part[len(part)-1].Span.Max > seen[len(seen)-1].Span.Min {
				continue
			}
			if !slices.ContainsFunc(part, func(r plan.Remote) bool { return w.marked[r.ID] }) {
				return part
			}
		}
	}
	return nil
}
