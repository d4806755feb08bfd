// Package head cuts what a Prometheus server has left in its head, the samples
// that are in no block yet, into blocks in its data directory: aligned to block
// windows, out-of-order samples and deletions included. It is for a data
// directory that nobody has open: it takes Prometheus's own lock. Exemplars and
// metadata are not in it: blocks hold neither. Who may call it, and when, is its
// caller's business, and so is what becomes of the blocks.
//
// It reads hard links of the write-ahead logs and head chunks, copies where those
// lie on another file system, and repairs them where they are torn: killed at any point, it leaves a directory from which it,
// or Prometheus, goes on. Of what Prometheus has left it changes two things. Once
// blocks hold all that was out of order, it removes the write-behind log and the
// head chunks, which would bring it back; and it ends blocks of a part of the head
// where their samples end.
//
// In-order blocks become visible oldest first, each whole, and whoever opens the
// directory next takes only what is later than the newest of them from the log.
// Out-of-order samples that a block holds already are left out, since head chunk
// files outlive the compaction that was to make them obsolete, and would bring
// them back.
//
// Whoever goes on with the directory refuses samples older than the newest
// that was flushed, unless its out-of-order window takes them.
package head

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// Options of Flush. The zero value is good.
type Options struct {
	BlockDuration time.Duration  // Prometheus's --storage.tsdb.min-block-duration; 0: its default, 2 h
	Progress      func(Progress) // told now and then, never by two goroutines at once; nil: nobody asks
}

// Progress is how far a flush has come.
type Progress struct {
	Step        string // "read" or "cut"
	Done, Total int    // log segments read, or windows cut
	Samples     int64  // in blocks so far
}

// Report is what a flush has done: where it failed, until then.
type Report struct {
	Samples  int64       // in Blocks
	Series   int64       // that the head held
	Blocks   []ulid.ULID // new in the data directory
	Took     time.Duration
	Repaired bool // a log was torn; what was behind the tear is lost
}

// Flush cuts the head of the TSDB in dataDir into blocks there. Where there is
// nothing to cut, the report is zero but for its time. It ends early with ctx,
// but not while it reads the log, which for a large head is most of its time.
func Flush(ctx context.Context, dataDir string, o Options, logger *slog.Logger) (Report, error) {
	f := &flush{dir: dataDir, stage: stageDir(dataDir), o: o, logger: logger}
	f.width = o.BlockDuration.Milliseconds()
	if f.width == 0 {
		f.width = tsdb.DefaultBlockDuration
	}
	start := time.Now()
	err := f.run(ctx)
	f.report.Took = time.Since(start)
	return f.report, err
}

// Clean removes what a Flush that was killed has left behind, which takes no
// part in anything, but room. It must not be called while one runs.
func Clean(dataDir string) error { return os.RemoveAll(stageDir(dataDir)) }

func stageDir(dataDir string) string { return filepath.Join(dataDir, "ringside", "flush") }

// flush is one call of Flush.
type flush struct {
	dir    string // the data directory
	stage  string // hard links of what is to be read, and blocks that are being written; made and removed here
	width  int64  // of a window, in ms
	o      Options
	logger *slog.Logger

	head       *tsdb.Head
	startTimes bool                // the log holds start timestamps
	sorted     []storage.SeriesRef // the head's series by their labels
	compactor  *tsdb.LeveledCompactor
	report     Report
	done       int // windows
	total      int
}

func (f *flush) run(ctx context.Context) (err error) {
	logs, err := logBytes(f.dir)
	if err != nil || logs == 0 {
		return err
	}
	unlock, err := lock(f.dir, f.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	defer func() { err = errors.Join(err, Clean(f.dir)) }()
	free, err := f.room(logs)
	if err != nil {
		return err
	}
	if err := f.prepare(ctx); err != nil {
		return err
	}
	f.compactor, err = tsdb.NewLeveledCompactorWithOptions(ctx, nil, f.logger, []int64{f.width}, nil, tsdb.LeveledCompactorOptions{
		// A segment is allocated whole before it is written to.
		MaxBlockChunkSegmentSize: min(chunks.DefaultChunkSegmentSize, max(free/4, 1<<20)),
	})
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return f.cutAll(ctx)
}

// cutAll reads the head and writes its blocks.
func (f *flush) cutAll(ctx context.Context) (err error) {
	metas, err := readMetas(f.dir)
	if err != nil {
		return err
	}
	if err := f.open(inOrderEnd(metas)); err != nil {
		return err
	}
	defer func() {
		if f.head != nil {
			err = errors.Join(err, f.head.Close())
		}
	}()
	f.report.Series = int64(f.head.NumSeries())
	if err := f.trimHinted(ctx, metas); err != nil {
		return err
	}
	hadOutOfOrder, err := f.cutHead(ctx, metas)
	if err != nil {
		return err
	}
	err, f.head = f.head.Close(), nil
	if err != nil {
		return fmt.Errorf("flush: close the head: %w", err)
	}
	if hadOutOfOrder {
		return f.forgetOutOfOrder()
	}
	return nil
}

// cutHead tells whether there were out-of-order samples, cut now or before.
func (f *flush) cutHead(ctx context.Context, metas []tsdb.BlockMeta) (hadOutOfOrder bool, err error) {
	defer func() {
		switch p := recover().(type) { // where head chunks cannot be written or read, tsdb panics with the error
		case nil:
		case runtime.Error:
			panic(p)
		case error:
			err = fmt.Errorf("flush: head chunks: %w", p)
		default:
			panic(p)
		}
	}()
	inOrder, err := f.windows(ctx)
	if err != nil {
		return false, err
	}
	f.total = len(inOrder)
	// First: once in-order blocks exist, deletions that reach no further are not
	// read again, and a flush that goes on after a crash would bring back
	// out-of-order samples that were deleted.
	hadOutOfOrder, err = f.cutOutOfOrder(ctx, metas)
	if err != nil {
		return false, err
	}
	if err := f.cutInOrder(ctx, inOrder); err != nil {
		return false, err
	}
	if ahead := time.UnixMilli(f.head.MaxTime()); len(inOrder) > 0 && time.Until(ahead) > time.Minute {
		f.logger.Warn("samples lie ahead of the clock: a prometheus that comes back refuses samples until then", "until", ahead)
	}
	return hadOutOfOrder, nil
}

// open reads the logs and head chunks, but for in-order samples before
// minValid, which blocks hold.
func (f *flush) open(minValid int64) error {
	stats := tsdb.NewHeadStats()
	head, err := f.newHead(stats)
	if err != nil {
		f.logger.Warn("head chunks not readable: taking all from the log", "err", err)
		if err := os.RemoveAll(filepath.Join(f.stage, chunksDir)); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if head, err = f.newHead(stats); err != nil {
			return fmt.Errorf("flush: open the head: %w", err)
		}
	}
	stop := f.watch(stats.WALReplayStatus)
	err = head.Init(minValid)
	stop()
	if err != nil {
		return errors.Join(fmt.Errorf("flush: read the log: %w", err), head.Close())
	}
	f.head = head
	return nil
}

// watch tells of the reading until the returned function is called.
func (f *flush) watch(status *tsdb.WALReplayStatus) (stop func()) {
	if f.o.Progress == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				s := status.GetWALReplayStatus()
				f.o.Progress(Progress{Step: "read", Done: max(0, s.Current-s.Min), Total: s.Max - s.Min + 1})
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// cut makes the block of a window visible, if there is one.
func (f *flush) cut(blocks []ulid.ULID) error {
	f.done++
	for _, id := range blocks {
		meta, err := readMeta(filepath.Join(f.stage, blocksDir, id.String()))
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if err := fileutil.Rename(filepath.Join(f.stage, blocksDir, id.String()), filepath.Join(f.dir, id.String())); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		f.report.Blocks = append(f.report.Blocks, id)
		f.report.Samples += int64(meta.Stats.NumSamples)
	}
	if f.o.Progress != nil {
		f.o.Progress(Progress{Step: "cut", Done: f.done, Total: f.total, Samples: f.report.Samples})
	}
	return nil
}

// floor rounds t down to a multiple of width, below zero too.
func floor(t, width int64) int64 {
	if t < 0 && t > math.MinInt64+width {
		t -= width - 1
	}
	return t / width * width
}
