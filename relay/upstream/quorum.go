package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/ringside-project/ringside/relay/hashring"
	"github.com/ringside-project/ringside/relay/wire"
)

// outvotedAfter is how long a copy may still take once the others have decided
// on every series. Longer, and its endpoint would fall behind for good, and
// get the samples of a series in the wrong order.
const outvotedAfter = time.Second

// votes are what the owners of one series have answered so far.
type votes [settledKinds]uint16

// needed is how many of that many owners must have written a series.
func needed(copies int) uint16 { return uint16(hashring.Quorum(copies)) }

// decided tells whether no further answer changes whether the series is written.
func (v votes) decided(copies int) bool {
	lost := v[rejected] + v[failed]
	return v[delivered] >= needed(copies) || lost > uint16(copies)-needed(copies)
}

// verdict is what came of the series, all owners having answered. It is
// rejected only if so many will never have it that the others cannot make up
// for them.
func (v votes) verdict(copies int) verdict {
	switch spare := uint16(copies) - needed(copies); {
	case v[delivered] >= needed(copies):
		return delivered
	case v[rejected] > spare:
		return rejected
	}
	return failed
}

// ballot counts the votes on every series of a batch.
type ballot struct {
	copies    int
	votes     []votes
	unsure    []uint16 // of the votes for delivered: the owner rejected some of its series and does not say which
	undecided int      // series
}

// newBallot is for a vote on that many series, out of a batch of size.
func newBallot(copies, size, series int) *ballot {
	return &ballot{copies: copies, votes: make([]votes, size), unsure: make([]uint16, size), undecided: series}
}

func (b *ballot) cast(series int, v verdict) {
	before := b.votes[series].decided(b.copies)
	b.votes[series][v]++
	if !before && b.votes[series].decided(b.copies) {
		b.undecided--
	}
}

// verdict is what came of a series, all owners having answered. One that may
// lack its quorum, where another owner could still come to have it, has failed.
func (b *ballot) verdict(series int) verdict {
	v := b.votes[series]
	if v[delivered]-b.unsure[series] < needed(b.copies) && v[failed] > 0 && v[delivered] >= needed(b.copies) {
		return failed
	}
	return v.verdict(b.copies)
}

// vote sends all parts and lets the owners of each series decide on it. Those
// that are slow to agree with what is decided are cut off.
func (d *delivery) vote(ctx context.Context) {
	ctx, cutOff := context.WithCancelCause(ctx)
	defer cutOff(nil)
	series := 0
	for _, c := range d.routed {
		for range d.series(c.rows) {
			series++
		}
	}
	votes := newBallot(d.copies, max(1, d.batch.Len()), series)
	done := make(chan int)
	go func() {
		defer close(done)
		d.send(ctx, done)
	}()
	patience := time.NewTimer(outvotedAfter)
	patience.Stop()
	defer patience.Stop()
	for open := true; open; {
		select {
		case i, more := <-done:
			if open = more; !more {
				break
			}
			undecided := votes.undecided
			d.cast(votes, &d.parts[i].out)
			if undecided > 0 && votes.undecided == 0 {
				patience.Reset(outvotedAfter)
			}
		case <-patience.C:
			cutOff(errOutvoted)
		}
	}
	d.elect(votes)
}

func (d *delivery) cast(votes *ballot, out *outcome) {
	for _, r := range out.runs {
		for series := range d.series(r.rows) {
			votes.cast(series, r.verdict)
			if r.unsure {
				votes.unsure[series]++
			}
		}
	}
}

// elect books the verdict on each series.
func (d *delivery) elect(votes *ballot) {
	t := &d.result
	var series [settledKinds]int
	for _, c := range d.routed {
		for i := range d.series(c.rows) {
			v := votes.verdict(i)
			t.counts[v] = t.counts[v].Add(d.count(i))
			series[v]++
		}
	}
	lost := least(d.lost(), t.counts[delivered])
	t.counts[delivered] = minus(t.counts[delivered], lost)
	t.counts[rejected] = t.counts[rejected].Add(lost)
	for i := range d.parts {
		out := &d.parts[i].out
		if (series[rejected] > 0 || out.lost != (wire.Counts{})) && out.refusal.status != 0 {
			t.explain(rejected, out.refusal)
			t.remember(out)
		}
		if series[failed] > 0 && out.failure.status != 0 {
			a := out.failure
			a.text = fmt.Sprintf("%d series lack the quorum of %d out of %d: %s", series[failed], needed(d.copies), d.copies, a.text)
			t.explain(failed, a)
		}
	}
}

// lost is about what endpoints rejected without saying of which series. Each
// series has been to as many of them as there are copies, and what is wrong
// with one copy is wrong with all.
func (d *delivery) lost() wire.Counts {
	var sum wire.Counts
	for i := range d.parts {
		sum = sum.Add(d.parts[i].out.lost)
	}
	up := d.copies - 1
	return wire.Counts{
		Samples:    (sum.Samples + up) / d.copies,
		Histograms: (sum.Histograms + up) / d.copies,
		Exemplars:  (sum.Exemplars + up) / d.copies,
	}
}
