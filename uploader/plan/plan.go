// Package plan decides what becomes of a data directory's blocks: which are
// uploaded as they are, which are merged first so that what reaches the bucket
// never overlaps, which wait, which are in the bucket already, and which are
// refused. It is pure: the same input gives the same plan, in whatever order the
// blocks were found.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// Block is what the plan needs to know of a block on this side.
type Block struct {
	ID      ulid.ULID
	Span    Span
	Samples uint64
	Kind    Kind
	Origins []ulid.ULID // the blocks cut from heads that it was compacted from, or made of parts of; none: it was cut from one itself
	Sources []ulid.ULID // those whose samples it has all of, as its meta.json says; nil: Origins, or itself
	Replace []ulid.ULID // the blocks that Prometheus rewrote as this one, to drop deleted samples
	Labels  string      // its external labels; blocks of other labels may overlap it
	Cut     time.Time   // when it was written, or seen first if that is earlier
	Merged  bool        // the uploader made it, so that it stands for its origins
	Rewrite bool        // some of its samples are deleted: it is not to be uploaded as it is
	Unfit   string      // why its contents must not be uploaded; empty: nothing is known against them
}

// Kind tells from what part of a head a block was cut.
type Kind int

// An in-order block says that nothing earlier follows but out-of-order samples;
// the others share their time with an in-order block.
const (
	InOrder    Kind = iota
	OutOfOrder      // samples that came late
	Early           // series that had ended, cut before their time
)

// Remote is a block that the bucket holds whole.
type Remote struct {
	ID          ulid.ULID
	Span        Span
	Sources     []ulid.ULID // as its meta.json says: itself among them, unless it was compacted
	Of          []ulid.ULID // those of whose samples it has all or some
	Labels      string
	InOrder     bool
	Downsampled bool // it overlaps the block that it was made of, and nobody minds
}

// Input is all that a plan depends on.
type Input struct {
	Blocks []Block
	Remote []Remote
	Done   map[ulid.ULID]bool // known to be in the bucket, by themselves or within others

	BlockRange       time.Duration // Prometheus's --storage.tsdb.min-block-duration; 0: 2h
	OutOfOrderWindow time.Duration
	Closed           bool   // Prometheus has gone and its head is flushed: nothing follows
	Hold             string // why nothing may be uploaded at all; empty: it may
	Now              time.Time
}

// State is what is to become of a block.
type State int

// The states. Blocks that are Due, Waiting or Held are needed; keep hold of them.
const (
	Due     State = iota
	Waiting       // others that overlap it may follow
	Held          // due, but for Input.Hold
	Parts         // compacted from blocks that are uploaded themselves
	Within        // a merged block stands for it
	Up            // in the bucket, by itself
	Covered       // in the bucket, within others
	Refused
)

// Verdict is a block's state, and why, for a person.
type Verdict struct {
	State   State
	Since   time.Time // of what is due or held: when it became due
	Reason  string
	LeftOut bool // the bucket has other samples for a part of its time, which Reason names; that part is not uploaded
}

// Upload is one block to be put into the bucket.
type Upload struct {
	Span     Span
	Blocks   []ulid.ULID // by time; more than one are to be merged
	AsIs     bool        // the only one of Blocks, all of it, is to go up as it is
	Replaces []ulid.ULID // blocks in the bucket that give way to it

	// What the merged block is to say of itself.
	Sources []ulid.ULID // the blocks that it has all samples of
	Of      []ulid.ULID // those that it has samples of
}

// Plan is what to do now.
type Plan struct {
	Uploads  []Upload // oldest first; they overlap neither each other nor those of the bucket's blocks that they do not replace
	Verdicts map[ulid.ULID]Verdict
	Keep     map[ulid.ULID]bool // blocks to keep hold of, whatever became of them: what is due, or waits, is merged with them
}

// Make makes the plan.
func Make(in Input) Plan {
	p := newPlanner(in)
	for _, c := range p.blocks {
		p.judge(c)
	}
	p.represent()
	p.schedule()
	out := Plan{Uploads: p.uploads, Verdicts: map[ulid.ULID]Verdict{}, Keep: p.keep}
	for _, c := range p.blocks {
		out.Verdicts[c.ID] = c.verdict
	}
	slices.SortFunc(out.Uploads, func(a, b Upload) int {
		return cmp.Or(cmp.Compare(a.Span.Min, b.Span.Min), a.Blocks[0].Compare(b.Blocks[0]))
	})
	return out
}

// candidate is a block with what is found out about it.
type candidate struct {
	Block
	verdict Verdict
	open    bool    // verdict is still to be found
	free    []Span  // the part of Span that the bucket has nothing of, or nothing that cannot be replaced
	late    []*kept // what is to be replaced, so that its samples come in
	leftOut string  // why not all of it is free
}

// planner holds the state of one Make.
type planner struct {
	Input
	blocks  []*candidate // by time, then by ID
	byID    map[ulid.ULID]*candidate
	sources map[ulid.ULID]bool // all that the bucket's blocks were made of
	live    []Remote           // the bucket's blocks that count, by labels and time
	whole   map[ulid.ULID]bool // those that the live ones have all samples of
	kept    map[ulid.ULID]*kept
	fixed   map[ulid.ULID]string // why a block of the bucket cannot be replaced
	uploads []Upload
	keep    map[ulid.ULID]bool
}

func newPlanner(in Input) *planner {
	p := &planner{
		Input: in, byID: map[ulid.ULID]*candidate{}, sources: map[ulid.ULID]bool{},
		whole: map[ulid.ULID]bool{}, kept: map[ulid.ULID]*kept{}, fixed: map[ulid.ULID]string{}, keep: map[ulid.ULID]bool{},
	}
	if p.BlockRange <= 0 {
		p.BlockRange = 2 * time.Hour
	}
	for _, r := range in.Remote {
		p.sources[r.ID] = true
		for _, s := range r.Of {
			p.sources[s] = true
		}
	}
	for _, b := range in.Blocks {
		c := &candidate{Block: b, free: []Span{b.Span}, open: true}
		p.blocks = append(p.blocks, c)
		p.byID[b.ID] = c
	}
	slices.SortFunc(p.blocks, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.Span.Min, b.Span.Min), a.ID.Compare(b.ID))
	})
	p.survey()
	for _, c := range p.blocks {
		p.subtractRemote(c)
	}
	return p
}

// subtractRemote takes out of c's free time what the bucket has of equal labels
// and what cannot be replaced, or need not be.
func (p *planner) subtractRemote(c *candidate) {
	var others []Remote
	for _, r := range p.live {
		if r.Labels != c.Labels || !r.Span.overlaps(c.Span) {
			continue
		}
		late, empty := p.late(c, r), r.ID == ulid.ULID{}
		switch k := p.kept[r.ID]; {
		case empty && (late || c.Merged): // others had nothing for it, or a part of c has not: c goes up whole
		case late && k != nil:
			if !slices.Contains(c.late, k) {
				c.late = append(c.late, k)
			}
		default:
			others = append(others, r)
			if late {
				c.leftOut = fmt.Sprintf("the bucket holds block %s of the same labels for %s, %s", r.ID, r.Span.meet(c.Span), p.fixed[r.ID])
			}
		}
	}
	for _, r := range others {
		if !slices.ContainsFunc(c.late, func(k *kept) bool { return k.replaces(r) }) {
			c.free = subtract(c.free, r.Span)
		}
	}
}

// leaves are the blocks whose samples c holds.
func (c *candidate) leaves() []ulid.ULID {
	if len(c.Origins) == 0 {
		return []ulid.ULID{c.ID}
	}
	return c.Origins
}

// sources are the blocks that c has all samples of.
func (c *candidate) sources() []ulid.ULID {
	if c.Sources == nil {
		return c.leaves()
	}
	return c.Sources
}

func (c *candidate) decide(s State, reason string) {
	c.verdict, c.open = Verdict{State: s, Reason: reason, LeftOut: c.leftOut != "" && s != Refused}, false
}
