package head

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// windows are those of the in-order head, by their start. Clocks jump: there
// may be a year between two, and then only those that chunks touch are worth the
// look at all series that each takes.
func (f *flush) windows(ctx context.Context) ([]int64, error) {
	mint, maxt := f.head.MinTime(), f.head.MaxTime()
	if mint > maxt {
		return nil, nil
	}
	if maxt-mint < 4*f.width {
		var all []int64
		for w := floor(mint, f.width); w <= maxt; w += f.width {
			all = append(all, w)
		}
		return all, nil
	}
	ir, err := tsdb.NewRangeHead(f.head, mint, maxt).Index()
	if err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	defer ir.Close()
	touched := map[int64]struct{}{}
	err = eachSeries(ctx, ir, func(metas []chunks.Meta) {
		for _, c := range metas {
			last := floor(min(f.end(c), maxt), f.width)
			for w := floor(max(c.MinTime, mint), f.width); w <= last; w += f.width {
				touched[w] = struct{}{}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("flush: list windows: %w", err)
	}
	return slices.Sorted(maps.Keys(touched)), nil
}

// end is when a chunk of the in-order head ends at the latest. Of the one that
// is still open, tsdb says never.
func (f *flush) end(c chunks.Meta) int64 {
	if c.MaxTime < math.MaxInt64 {
		return c.MaxTime
	}
	return c.MinTime/f.width*f.width + f.width - 1
}

// cutInOrder writes the windows of in-order samples, oldest first: in the log,
// samples before the end of a visible block count no more. One at a time: two
// at once take a fifth more memory.
func (f *flush) cutInOrder(ctx context.Context, windows []int64) (err error) {
	if len(windows) == 0 {
		return nil
	}
	if f.sorted, err = f.sortSeries(ctx); err != nil {
		return fmt.Errorf("flush: sort series: %w", err)
	}
	for _, w := range windows {
		if err := f.cutWindow(w); err != nil {
			return err
		}
	}
	return nil
}

func (f *flush) sortSeries(ctx context.Context) ([]storage.SeriesRef, error) {
	ir, err := f.head.Index()
	if err != nil {
		return nil, err
	}
	defer ir.Close()
	return index.ExpandPostings(tsdb.AllSortedPostings(ctx, ir))
}

// cutWindow writes the block of the window that starts at start. The last one
// ends right after the latest sample of all: where the block ends, Prometheus
// takes up again.
func (f *flush) cutWindow(start int64) error {
	mint, end := max(start, f.head.MinTime()), min(start+f.width, f.head.MaxTime()+1)
	deleted, err := f.deleted()
	if err != nil {
		return err
	}
	p := part{
		BlockReader: tsdb.NewRangeHeadWithIsolationDisabled(f.head, mint, end-1), deleted: deleted,
		end: func(c chunks.Meta) int64 { return min(f.end(c), f.head.MaxTime()) }, sorted: f.sorted,
	}
	ids, err := f.compactor.Write(filepath.Join(f.stage, blocksDir), p, mint, end, nil)
	if err != nil {
		return fmt.Errorf("flush: write a block: %w", err)
	}
	return f.cut(ids)
}

// cutOutOfOrder writes the out-of-order samples that no block holds, and tells
// whether there were any, even if all are in blocks.
func (f *flush) cutOutOfOrder(ctx context.Context, metas []tsdb.BlockMeta) (had bool, err error) {
	if f.head.MinOOOTime() == math.MaxInt64 {
		return false, nil
	}
	ooo, err := tsdb.NewOOOCompactionHead(ctx, f.head) // writes them all to head chunks
	if err != nil {
		return false, fmt.Errorf("flush: gather out-of-order samples: %w", err)
	}
	mint, maxt := ooo.MinTime(), ooo.MaxTime()
	if mint > maxt {
		return false, nil
	}
	f.total += int((floor(maxt, f.width)-floor(mint, f.width))/f.width) + 1
	deleted, err := f.leftOut(ctx, ooo, metas)
	if err != nil {
		return true, fmt.Errorf("flush: compare out-of-order samples with blocks: %w", err)
	}
	base := &tsdb.BlockMeta{}
	base.Compaction.SetOutOfOrder()
	for w := floor(mint, f.width); w <= maxt; w += f.width {
		from, to := max(w, mint), min(w+f.width, maxt+1)
		p := part{
			BlockReader: ooo.CloneForTimeRange(from, to-1), deleted: deleted,
			end: func(c chunks.Meta) int64 { return c.MaxTime },
		}
		ids, err := f.compactor.Write(filepath.Join(f.stage, blocksDir), p, from, to, base)
		if err != nil {
			return true, fmt.Errorf("flush: write a block of out-of-order samples: %w", err)
		}
		if err := f.cut(ids); err != nil {
			return true, err
		}
	}
	return true, nil
}

// forgetOutOfOrder removes the write-behind log and the head chunks once blocks
// hold all that is in them. Left there, Prometheus would cut these samples once
// more. In-order head chunks go with them: they are no later than the blocks.
func (f *flush) forgetOutOfOrder() error {
	for _, name := range []string{wlog.WblDirName, chunksDir} {
		dir := filepath.Join(f.dir, name)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		for _, e := range entries { // oldest first: a gap would be an error for Prometheus
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("flush: remove what blocks hold: %w", err)
			}
		}
	}
	return nil
}

// leftOut are the out-of-order samples that are not to be cut: those deleted,
// and those that are elsewhere already. A block of level 1 from the in-order head
// holds none of these.
func (f *flush) leftOut(ctx context.Context, ooo *tsdb.OOOCompactionHead, metas []tsdb.BlockMeta) (_ *tombstones.MemTombstones, err error) {
	left, err := f.deleted()
	if err != nil {
		return nil, err
	}
	var held []*tsdb.Block
	defer func() {
		for _, b := range held {
			err = errors.Join(err, b.Close())
		}
	}()
	for _, m := range metas {
		if m.Compaction.Level <= 1 && !m.Compaction.FromOutOfOrder() || m.MaxTime <= ooo.MinTime() || m.MinTime > ooo.MaxTime() {
			continue
		}
		b, err := tsdb.OpenBlock(f.logger, filepath.Join(f.dir, m.ULID.String()), nil, nil)
		if err != nil {
			f.logger.Warn("block not readable", "block", m.ULID, "err", err)
			continue
		}
		held = append(held, b)
	}
	return left, f.addHeld(ctx, ooo, held, left)
}

// deleted copies the head's tombstones.
func (f *flush) deleted() (*tombstones.MemTombstones, error) {
	left := tombstones.NewMemTombstones()
	r, err := f.head.Tombstones()
	if err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	return left, r.Iter(func(ref storage.SeriesRef, ivs tombstones.Intervals) error {
		left.AddInterval(ref, ivs...)
		return nil
	})
}
