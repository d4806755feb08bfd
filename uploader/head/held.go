package head

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// addHeld adds to left the samples of ooo that one of blocks holds too, or the
// in-order head: those of the same series and time. Samples that are out of
// order are logged with all others too, and may be read back as both.
func (f *flush) addHeld(ctx context.Context, ooo tsdb.BlockReader, blocks []*tsdb.Block, left *tombstones.MemTombstones) (err error) {
	late, err := scan(ooo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, late.close()) }()
	inOrder, err := scan(tsdb.NewRangeHeadWithIsolationDisabled(f.head, f.head.MinTime(), f.head.MaxTime()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inOrder.close()) }()
	others, err := scanBlocks(blocks)
	defer func() {
		for _, o := range others {
			err = errors.Join(err, o.close())
		}
	}()
	if err != nil {
		return err
	}
	late.sort(ctx)
	for _, o := range others {
		o.sort(ctx)
		o.mint, o.maxt = ooo.Meta().MinTime, ooo.Meta().MaxTime
		o.next()
	}
	var times, held []int64
	for late.next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		ref := late.postings.At()
		times = late.times(times[:0])
		inOrder.load(ref)
		held = inOrder.times(held[:0])
		for _, o := range others {
			if o.seek(late.series) {
				held = o.times(held)
			}
			late.err = errors.Join(late.err, o.err)
		}
		late.err = errors.Join(late.err, inOrder.err)
		slices.Sort(held)
		left.AddInterval(ref, common(times, held)...)
	}
	return late.err
}

// scanBlocks returns, with an error, those that are open already.
func scanBlocks(blocks []*tsdb.Block) ([]*scanner, error) {
	var scanners []*scanner
	for _, b := range blocks {
		s, err := scan(b)
		if err != nil {
			return scanners, err
		}
		scanners = append(scanners, s)
	}
	return scanners, nil
}

// common covers those of times that are in known too with as few intervals as
// can be, which hold no other of times. Both are sorted.
func common(times, known []int64) []tombstones.Interval {
	var runs []tombstones.Interval
	open := false
	for _, t := range times {
		_, found := slices.BinarySearch(known, t)
		switch {
		case found && open:
			runs[len(runs)-1].Maxt = t
		case found:
			runs = append(runs, tombstones.Interval{Mint: t, Maxt: t})
		}
		open = found
	}
	return runs
}

// scanner goes through the series of a block, or of a head. After an error it
// finds nothing more.
type scanner struct {
	index      tsdb.IndexReader
	chunks     tsdb.ChunkReader
	mint, maxt int64          // chunks outside are left out
	postings   index.Postings // by their labels; nil until sorted

	series  labels.Labels // the current one, if at is true
	metas   []chunks.Meta // its chunks
	at      bool
	builder labels.ScratchBuilder
	err     error
}

func scan(b tsdb.BlockReader) (*scanner, error) {
	ir, err := b.Index()
	if err != nil {
		return nil, err
	}
	cr, err := b.Chunks()
	if err != nil {
		return nil, errors.Join(err, ir.Close())
	}
	return &scanner{index: ir, chunks: cr, mint: math.MinInt64, maxt: math.MaxInt64}, nil
}

func (s *scanner) close() error { return errors.Join(s.index.Close(), s.chunks.Close()) }

// sort makes ready for next and seek.
func (s *scanner) sort(ctx context.Context) { s.postings = tsdb.AllSortedPostings(ctx, s.index) }

func (s *scanner) load(ref storage.SeriesRef) {
	s.metas, s.at = s.metas[:0], false
	if s.err != nil {
		return
	}
	s.err = s.index.Series(ref, &s.builder, &s.metas)
	s.series, s.at = s.builder.Labels(), s.err == nil
}

func (s *scanner) next() bool {
	s.at = false
	if s.err == nil && s.postings.Next() {
		s.load(s.postings.At())
	} else {
		s.err = errors.Join(s.err, s.postings.Err())
	}
	return s.at
}

// seek goes on to series and tells whether it is there. It must be no earlier
// than the one asked for before.
func (s *scanner) seek(series labels.Labels) bool {
	for s.at && labels.Compare(s.series, series) < 0 {
		s.next()
	}
	return s.at && labels.Equal(s.series, series)
}

// times appends the times of all samples of the current series, in order.
func (s *scanner) times(to []int64) []int64 {
	var it chunkenc.Iterator
	for _, m := range s.metas {
		if m.MaxTime < s.mint || m.MinTime > s.maxt {
			continue
		}
		c, iterable, err := s.chunks.ChunkOrIterable(m)
		if err != nil {
			s.err = err
			return to
		}
		if c != nil {
			it = c.Iterator(it)
		} else {
			it = iterable.Iterator(it)
		}
		for it.Next() != chunkenc.ValNone {
			to = append(to, it.AtT())
		}
		if err := it.Err(); err != nil {
			s.err = err
			return to
		}
	}
	return to
}
