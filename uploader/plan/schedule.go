package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// settle is how long Prometheus may take, after it has cut an in-order block,
// to cut the out-of-order ones that follow it.
const settle = 10 * time.Minute

// piece is a part of a block that the bucket has nothing of, or what is to be
// replaced of the bucket.
type piece struct {
	*candidate       // nil: see kept
	kept       *kept // nil: see candidate
	labels     string
	span       Span
}

// schedule joins pieces that overlap, and makes an upload of those whose time
// has come.
func (p *planner) schedule() {
	var pieces []piece
	called := map[*kept]bool{}
	for _, c := range p.blocks {
		if !c.open {
			continue
		}
		for _, s := range c.free {
			pieces = append(pieces, piece{candidate: c, labels: c.Labels, span: s})
		}
		for _, k := range c.late {
			if !called[k] {
				called[k] = true
				pieces = append(pieces, piece{kept: k, labels: c.Labels, span: k.span})
			}
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.labels, b.labels), cmp.Compare(a.span.Min, b.span.Min), cmp.Compare(a.span.Max, b.span.Max))
	})
	for len(pieces) > 0 {
		n, end := 1, pieces[0].span.Max
		for n < len(pieces) && pieces[n].labels == pieces[0].labels && pieces[n].span.Min < end {
			end = max(end, pieces[n].span.Max)
			n++
		}
		p.place(pieces[:n], Span{pieces[0].span.Min, end})
		pieces = pieces[n:]
	}
}

// place decides on pieces that overlap, and that together span so much.
func (p *planner) place(pieces []piece, span Span) {
	var group []piece // of candidates
	var replaced []*kept
	for _, x := range pieces {
		if x.kept != nil {
			replaced = append(replaced, x.kept)
		} else {
			group = append(group, x)
		}
	}
	if len(group) == 0 {
		return // another stands for whoever asked for it
	}
	up := p.upload(group, replaced, span)
	if !up.AsIs {
		for _, k := range replaced {
			for _, id := range k.holders {
				p.keep[id] = true
			}
		}
	}
	since, reason := p.waits(group, span)
	verdict := Verdict{State: Due, Since: since}
	if reason != "" {
		verdict = Verdict{State: Waiting, Reason: reason}
	} else if p.Hold != "" {
		verdict = Verdict{State: Held, Since: since, Reason: p.Hold}
	}
	for _, x := range group {
		v := verdict
		v.LeftOut = x.leftOut != ""
		if v.State == Due {
			v.Reason = x.leftOut
		}
		if x.open || v.State < x.verdict.State {
			x.verdict, x.open = v, false
		}
	}
	if verdict.State == Due {
		p.uploads = append(p.uploads, up)
	}
}

// upload is what puts the group into the bucket, in the place of what it
// replaces there.
func (p *planner) upload(group []piece, replaced []*kept, span Span) Upload {
	up := Upload{Span: span}
	for _, x := range group {
		up.Blocks = with(up.Blocks, x.ID)
		up.Of = with(up.Of, x.leaves()...)
		if x.span == x.Span {
			up.Sources = with(up.Sources, x.sources()...)
		}
	}
	up.AsIs = len(group) == 1 && span == group[0].Span && !group[0].Rewrite
	for _, k := range replaced {
		for _, r := range k.remotes {
			up.AsIs = up.AsIs && subset(r.Sources, group[0].sources())
			up.Replaces = with(up.Replaces, r.ID)
			up.Sources = with(up.Sources, r.Sources...)
			up.Of = with(up.Of, r.made()...)
		}
	}
	if !up.AsIs {
		for _, k := range replaced {
			up.Blocks = with(up.Blocks, k.holders...)
		}
	}
	slices.SortFunc(up.Blocks, func(a, b ulid.ULID) int {
		return cmp.Or(cmp.Compare(p.byID[a].Span.Min, p.byID[b].Span.Min), a.Compare(b))
	})
	return up
}

// with adds those that are not there yet.
func with(ids []ulid.ULID, more ...ulid.ULID) []ulid.ULID {
	for _, id := range more {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// waits says why the pieces have to wait for others that may overlap them, or, with
// an empty reason, since when they need not.
func (p *planner) waits(group []piece, span Span) (since time.Time, reason string) {
	late := p.OutOfOrderWindow > 0
	alone := !late
	for _, x := range group {
		late = late || x.Kind == OutOfOrder
		alone = alone && x.Kind == InOrder
		if x.Cut.After(since) {
			since = x.Cut
		}
	}
	if p.Closed || alone {
		return since, ""
	}
	end := ceil(span.Max, p.BlockRange.Milliseconds())
	age := time.Duration(0)
	if late {
		age = settle
	}
	cut, soon := p.closedBy(group[0].labels, end)
	switch open := cut.Add(age); {
	case cut.IsZero():
		return since, fmt.Sprintf("more samples for its time may come until Prometheus cuts a block with its head beyond %s", clock(end+p.OutOfOrderWindow.Milliseconds()))
	case p.Now.Before(open):
		return since, fmt.Sprintf("out-of-order samples for its time may still be cut: block %s was cut at %s, %s ago are waited for", soon, clock(cut.UnixMilli()), age)
	case open.After(since):
		since = open
	}
	return since, ""
}

// closedBy finds the in-order block that was cut first of those that reach end, and by whose
// cut the head had left it behind by the out-of-order window: no sample before end follows it,
// but for those that are cut right after it.
func (p *planner) closedBy(labels string, end int64) (cut time.Time, id ulid.ULID) {
	earlier := func(at time.Time, by ulid.ULID) {
		if cut.IsZero() || at.Before(cut) {
			cut, id = at, by
		}
	}
	closes := func(to int64, cut time.Time) bool {
		return to >= end && p.reached(to, cut) >= end+p.OutOfOrderWindow.Milliseconds()
	}
	for _, c := range p.blocks {
		if c.Kind == InOrder && closes(c.Span.Max, c.Cut) && !p.fromTheFuture(c.Span) {
			earlier(c.Cut, c.ID)
		}
	}
	for _, r := range p.Remote {
		at := ulid.Time(r.ID.Time())
		if r.InOrder && !r.Downsampled && r.Labels == labels && closes(r.Span.Max, at) {
			earlier(at, r.ID)
		}
	}
	return cut, id
}

// reached tells how far the head went when an in-order block was cut that ends there: Prometheus
// cuts when half a block range follows it (tsdb's Head.compactable). What was cut sooner is of a flush.
func (p *planner) reached(end int64, cut time.Time) int64 {
	half := p.BlockRange.Milliseconds() / 2
	if cut.UnixMilli()-end < half {
		return end
	}
	return end + half
}
