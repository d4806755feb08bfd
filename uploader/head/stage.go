package head

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	walDir    = "wal"
	chunksDir = "chunks_head"
	blocksDir = "blocks" // in the stage
)

// logBytes is the size of the write-ahead and write-behind logs. A directory
// without them holds no head. One that has a log, but no head chunks, is not
// that of a Prometheus server.
func logBytes(dir string) (int64, error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	var size int64
	for _, log := range []string{walDir, wlog.WblDirName} {
		n, err := bytesIn(filepath.Join(dir, log))
		if err != nil {
			return 0, fmt.Errorf("flush: %w", err)
		}
		size += n
	}
	if size == 0 {
		return 0, nil
	}
	if !exists(filepath.Join(dir, chunksDir)) {
		return 0, fmt.Errorf("flush: %s has a log, but no %s: it is the directory of a Prometheus agent, whose samples go to remote_write", dir, chunksDir)
	}
	return size, nil
}

// room tells how many bytes are free. Reading the log writes those head chunks
// that Prometheus had not written yet: usually none, and at worst, when all series
// end a chunk at once, about a sixteenth of the log. Where there is no room for
// them, tsdb does not return an error but panics, in a goroutine of its own.
func (f *flush) room(logs int64) (free int64, err error) {
	free, err = freeBytes(f.dir)
	if err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	if need := logs/16 + 16<<20; free < need {
		return 0, fmt.Errorf("flush: %s: %d MiB free on its disk, %d MiB needed to read the head", f.dir, free>>20, need>>20+1)
	}
	return free, nil
}

// prepare links what is to be read and repairs it.
func (f *flush) prepare(ctx context.Context) error {
	if err := Clean(f.dir); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	for _, name := range []string{walDir, wlog.WblDirName, chunksDir} {
		err := link(filepath.Join(f.dir, name), filepath.Join(f.stage, name))
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; run as the user that Prometheus runs as", err)
		}
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	wal := filepath.Join(f.stage, walDir)
	checkpoint, last, err := wlog.LastCheckpoint(wal)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		return fmt.Errorf("flush: find the checkpoint: %w", err)
	}
	logs := []wlog.SegmentRange{{Dir: wal, First: -1}, {Dir: filepath.Join(f.stage, wlog.WblDirName), First: -1}}
	if err == nil {
		logs[0].First = last + 1 // those before are obsolete, however damaged
		logs = append(logs, wlog.SegmentRange{Dir: checkpoint, First: -1})
	}
	for _, log := range logs {
		if err := f.repair(ctx, log); err != nil {
			return fmt.Errorf("flush: repair the log: %w", err)
		}
	}
	return nil
}

// link makes hard links in dst of all files in src, if that exists; copies, where
// it lies on another file system. src may be a symbolic link.
func link(src, dst string) error {
	src, err := place(src)
	if src == "" || err != nil {
		return err
	}
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dst, strings.TrimPrefix(path, src))
		if d.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		if err = os.Link(path, to); errors.Is(err, syscall.EXDEV) {
			err = copyFile(path, to)
		}
		return err
	})
}

// place is where dir is, symbolic links followed; empty: there is none.
func place(dir string) (string, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return filepath.EvalSymlinks(dir)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// bytesIn is the size of all files in dir; 0 where there is none.
func bytesIn(dir string) (size int64, err error) {
	dir, err = place(dir)
	if dir == "" || err != nil {
		return 0, err
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// repair reads a log as the head will. At a tear it cuts off the rest, as
// Prometheus does. That is left to nobody else: opening a TSDB repairs a log
// too, but then it does not read the out-of-order samples any more, and loses
// them with their next compaction; and for a damaged checkpoint it removes the
// whole log.
func (f *flush) repair(ctx context.Context, log wlog.SegmentRange) error {
	first, last, err := wlog.Segments(log.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := max(first, log.First); i >= 0 && i <= last && err == nil; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err = f.readSegment(log.Dir, i)
	}
	var torn *wlog.CorruptionErr
	if !errors.As(err, &torn) {
		return err
	}
	f.report.Repaired = true
	f.logger.Warn("a log is torn: what is behind is lost", "log", filepath.Base(log.Dir), "segment", torn.Segment, "offset", torn.Offset, "err", torn.Err)
	w, err := wlog.New(f.logger, nil, log.Dir, compression.Snappy)
	if err != nil {
		return err
	}
	return errors.Join(w.Repair(torn), w.Close())
}

func (f *flush) readSegment(dir string, i int) error {
	s, err := wlog.OpenReadSegment(wlog.SegmentName(dir, i))
	if err != nil {
		return err
	}
	rc := wlog.NewSegmentBufReader(s)
	defer rc.Close()
	r := wlog.NewReader(rc)
	for r.Next() {
		if rec := r.Record(); len(rec) > 0 && record.Type(rec[0]) == record.SamplesV2 {
			f.startTimes = true
		}
	}
	return r.Err()
}

// newHead makes a head over what prepare has linked. The write-behind log is
// opened for writing, which a head needs to cut it.
func (f *flush) newHead(stats *tsdb.HeadStats) (*tsdb.Head, error) {
	wal, err := wlog.Open(f.logger, filepath.Join(f.stage, walDir))
	if err != nil {
		return nil, err
	}
	var wbl *wlog.WL
	if dir := filepath.Join(f.stage, wlog.WblDirName); exists(dir) {
		if wbl, err = wlog.New(f.logger, nil, dir, compression.Snappy); err != nil {
			return nil, err
		}
	}
	o := tsdb.DefaultHeadOptions()
	o.ChunkDirRoot = f.stage
	o.ChunkRange = f.width
	o.IsolationDisabled = true
	if f.startTimes { // they would be dropped without
		o.EnableSTStorage.Store(true)
		o.FloatChunkEncoding.Store(uint32(chunkenc.EncXOR2))
	}
	head, err := tsdb.NewHead(nil, f.logger, wal, wbl, o, stats)
	if err != nil && wbl != nil {
		err = errors.Join(err, wbl.Close())
	}
	return head, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
