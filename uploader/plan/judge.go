package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// earliest is before any sample of Prometheus's: an older one is the fruit of a
// clock that was off.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// ahead is how far the clocks of a target and of this machine may differ.
const ahead = time.Hour

// judge decides what c's own nature and the bucket decide, and leaves it open
// otherwise.
func (p *planner) judge(c *candidate) {
	switch {
	case c.Samples == 0:
		c.decide(Covered, "it has no samples")
	case p.Done[c.ID]:
		c.decide(p.in(c), c.leftOut)
	case p.covered(c):
	case c.Unfit != "":
		c.decide(Refused, c.Unfit)
	case time.UnixMilli(c.Span.Min).Before(earliest):
		c.decide(Refused, fmt.Sprintf("its samples start at %s: a target's or this machine's clock was off; remove the block from the data directory", clock(c.Span.Min)))
	case p.fromTheFuture(c.Span):
		c.decide(Refused, fmt.Sprintf("its samples go until %s, and it is %s: set the clock of this machine, or of the target that gave them", clock(c.Span.Max), clock(p.Now.UnixMilli())))
	case p.inParts(c):
		c.decide(Parts, "it was compacted from blocks that are uploaded themselves")
	case len(c.free) == 0:
		c.decide(Refused, c.leftOut+"; a second one would make Thanos's compactor halt")
	}
}

// fromTheFuture allows for blocks that reach to the end of the present window.
func (p *planner) fromTheFuture(s Span) bool {
	limit := p.Now.Add(ahead)
	return time.UnixMilli(s.Min).After(limit) || time.UnixMilli(s.Max).After(limit.Add(p.BlockRange))
}

// covered decides c if all its samples are in the bucket.
func (p *planner) covered(c *candidate) bool {
	replaced := len(c.Replace) > 0 && p.allDone(c.Replace)
	switch {
	case !replaced && !p.allDone(c.leaves()):
		return false
	case replaced:
		c.decide(Covered, "the bucket has it as it was before samples of it were deleted")
	default:
		c.decide(p.in(c), c.leftOut)
	}
	return true
}

// in tells how the bucket has c, all of whose samples it has. Of one that was
// cut from a head, and that the bucket does not show any more, by itself: a
// compactor has removed it since.
func (p *planner) in(c *candidate) State {
	itself := slices.ContainsFunc(p.Remote, func(r Remote) bool { return r.ID == c.ID })
	if itself || !p.sources[c.ID] && len(c.Origins)+len(c.Replace) == 0 {
		return Up
	}
	return Covered
}

func (p *planner) allDone(ids []ulid.ULID) bool {
	return !slices.ContainsFunc(ids, func(id ulid.ULID) bool { return !p.leafDone(id) })
}

// leafDone tells whether the bucket has all samples of a block. Where only a
// part of it was free, its other parts may be still to be uploaded, after the
// one that names it as its source.
func (p *planner) leafDone(id ulid.ULID) bool {
	if p.Done[id] {
		return true
	}
	c := p.byID[id]
	return p.sources[id] && (c == nil || len(c.free) == 0)
}

// inParts tells whether c's samples are uploaded by other blocks that are at
// hand. What the uploader merged itself is never taken apart again.
func (p *planner) inParts(c *candidate) bool {
	parts := c.Origins
	if len(parts) == 0 {
		parts = c.Replace
	}
	if len(parts) == 0 || c.Merged {
		return false
	}
	return !slices.ContainsFunc(parts, func(id ulid.ULID) bool {
		part := p.byID[id]
		return !p.leafDone(id) && (part == nil || part.Unfit != "")
	})
}

// represent leaves to each compacted block that is needed what it was made of.
func (p *planner) represent() {
	var compacted []*candidate
	for _, c := range p.blocks {
		if c.open && len(c.Origins) > 0 {
			compacted = append(compacted, c)
		}
	}
	for _, c := range p.blocks {
		for _, by := range compacted {
			if !c.open || !stands(by, c) {
				continue
			}
			if c.free = subtract(c.free, by.Span); len(c.free) == 0 {
				c.verdict = Verdict{State: Within, Reason: "it is uploaded within block " + by.ID.String()}
			}
		}
	}
	for _, c := range p.blocks {
		c.open = c.open && len(c.free) > 0
	}
}

// whole tells whether the bucket has nothing of c's time but what c can replace as
// it is.
func (c *candidate) whole() bool {
	return len(c.free) == 1 && c.free[0] == c.Span && !slices.ContainsFunc(c.late, func(k *kept) bool {
		return slices.ContainsFunc(k.remotes, func(r Remote) bool { return !subset(r.Sources, c.sources()) })
	})
}

// stands tells whether by was made of all that c was made of, and of equal
// labels. Of two that were made of the same, the uploader's own stands for both,
// then one that can go up as it is, and then the older one.
func stands(by, c *candidate) bool {
	if by == c || by.Labels != c.Labels {
		return false
	}
	for _, id := range c.leaves() {
		if !slices.Contains(by.Origins, id) {
			return false
		}
	}
	switch {
	case len(c.Origins) < len(by.Origins):
		return true
	case by.Merged != c.Merged:
		return by.Merged
	case by.whole() != c.whole():
		return by.whole()
	}
	return by.ID.Compare(c.ID) < 0
}
