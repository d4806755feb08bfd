package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// What Thanos reads of a bucket are the blocks whose sources are not all among
// another's, of equal labels: the others it takes for the leftovers of a
// compaction, and its compactor removes them. So a block that the bucket has can
// be replaced, and late samples of its time reach the bucket in a block that was
// made of the same sources and theirs. What is to be seen to is that no compaction
// of the replaced one comes in between: its result would overlap the new block.

// ranges are what Thanos's compactor joins blocks to, in ms.
var ranges = []int64{hours(2), hours(8), hours(48), hours(14 * 24)}

// longest is how much time a block may span that replaces others: what is to be
// read and sent again stays bounded.
var longest = hours(8)

func hours(n int64) int64 { return n * time.Hour.Milliseconds() }

// kept is what can be replaced of the bucket, all of it or nothing.
type kept struct {
	span    Span
	remotes []Remote
	holders []ulid.ULID // the blocks on this side that have its samples
}

func (k *kept) replaces(r Remote) bool {
	return slices.ContainsFunc(k.remotes, func(o Remote) bool { return o.ID == r.ID })
}

// survey finds which of the bucket's blocks count, and which can be replaced.
func (p *planner) survey() {
	for _, r := range p.Remote {
		if !r.Downsampled && !slices.ContainsFunc(p.Remote, func(o Remote) bool { return o.outdoes(r) }) {
			p.live = append(p.live, r)
			for _, id := range r.Sources {
				p.whole[id] = true
			}
		}
	}
	slices.SortFunc(p.live, func(a, b Remote) int {
		return cmp.Or(cmp.Compare(a.Labels, b.Labels), cmp.Compare(a.Span.Min, b.Span.Min), a.ID.Compare(b.ID))
	})
	for _, r := range p.live {
		if r.ID == (ulid.ULID{}) || !slices.ContainsFunc(p.blocks, func(c *candidate) bool { return p.late(c, r) }) {
			continue
		}
		if k, why := p.keptWith(r); why != "" {
			p.fixed[r.ID] = why
		} else {
			p.kept[r.ID] = k
		}
	}
}

// outdoes tells whether Thanos takes r for a leftover of what o was made of.
func (o Remote) outdoes(r Remote) bool {
	if !o.Span.overlaps(r.Span) || len(r.Sources) == 0 || o.Labels != r.Labels || o.Downsampled != r.Downsampled || !subset(r.Sources, o.Sources) {
		return false
	}
	return len(o.Sources) > len(r.Sources) || o.ID.Compare(r.ID) < 0
}

// late tells whether c may have samples for the time of r that the bucket does
// not have.
func (p *planner) late(c *candidate, r Remote) bool {
	return r.Labels == c.Labels && r.Span.overlaps(c.Span) && slices.ContainsFunc(c.leaves(), func(id ulid.ULID) bool {
		return !slices.Contains(r.Of, id) && !p.whole[id]
	})
}

// keptWith finds what is to be replaced if r is, or says why that cannot be.
func (p *planner) keptWith(r Remote) (*kept, string) {
	k := &kept{span: r.Span, remotes: []Remote{r}}
	if r.Span.Max-r.Span.Min > longest {
		return nil, fmt.Sprintf("which spans more than %s", time.Duration(longest)*time.Millisecond)
	}
	for _, o := range p.compactable(r) {
		if o.ID != r.ID {
			k.remotes = append(k.remotes, o)
		}
		k.span = Span{min(k.span.Min, o.Span.Min), max(k.span.Max, o.Span.Max)}
	}
	if k.span.Max-k.span.Min > longest {
		return nil, "which Thanos's compactor may be joining with others just now"
	}
	for _, o := range k.remotes {
		for _, leaf := range o.made() {
			holder := p.holder(leaf, r.Labels)
			if holder == nil {
				return nil, "and what that was made of is not all here: it is another Prometheus's, or older than what is kept"
			}
			if !slices.Contains(k.holders, holder.ID) {
				k.holders = append(k.holders, holder.ID)
			}
		}
	}
	return k, ""
}

// made are the blocks whose samples r has, without r itself where it was made of
// others.
func (r Remote) made() []ulid.ULID {
	others := slices.DeleteFunc(slices.Clone(r.Of), func(id ulid.ULID) bool { return id == r.ID })
	if len(others) == 0 {
		return []ulid.ULID{r.ID}
	}
	return others
}

// holder finds a block on this side that has all samples of another one.
func (p *planner) holder(leaf ulid.ULID, labels string) *candidate {
	holds := func(c *candidate) bool {
		return c != nil && c.Unfit == "" && c.Labels == labels && slices.Contains(c.sources(), leaf)
	}
	if c := p.byID[leaf]; holds(c) {
		return c
	}
	if i := slices.IndexFunc(p.blocks, holds); i >= 0 {
		return p.blocks[i]
	}
	return nil
}

// compactable are the blocks that Thanos's compactor would join with r, or is
// joining now; none if it lets r alone. It joins what lies in an aligned range once
// that is full, or when something later is there: smaller ranges first, and what
// comes of them at once with others in the larger ones.
func (p *planner) compactable(r Remote) (joined []Remote) {
	var group []Remote // where Thanos looks, by time
	for _, o := range p.live {
		if o.Labels == r.Labels && o.ID != (ulid.ULID{}) {
			group = append(group, o)
		}
	}
	latest := group[len(group)-1].Span.Min
	for _, s := range ranges {
		start := ceil(r.Span.Min+1, s) - s
		within := slices.DeleteFunc(slices.Clone(group), func(o Remote) bool { return o.Span.Min < start || o.Span.Max > start+s })
		if r.Span.Max > start+s || len(within) < 2 {
			continue
		}
		end := within[len(within)-1].Span.Max
		if end-within[0].Span.Min == s || end <= latest {
			joined = within
		}
	}
	return joined
}

// subset tells whether all of these are among those.
func subset(these, those []ulid.ULID) bool {
	return !slices.ContainsFunc(these, func(id ulid.ULID) bool { return !slices.Contains(those, id) })
}
