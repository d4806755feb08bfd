package head

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

const metaFile = "meta.json"

func readMeta(block string) (tsdb.BlockMeta, error) {
	var meta tsdb.BlockMeta
	text, err := os.ReadFile(filepath.Join(block, metaFile))
	if err != nil {
		return meta, err
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return meta, fmt.Errorf("%s: %w", filepath.Join(block, metaFile), err)
	}
	return meta, nil
}

// readMetas reads those of the blocks in dir. One whose meta.json cannot be
// read is no block for Prometheus either.
func readMetas(dir string) ([]tsdb.BlockMeta, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	var metas []tsdb.BlockMeta
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		if meta, err := readMeta(filepath.Join(dir, e.Name())); err == nil && meta.ULID.String() == e.Name() {
			metas = append(metas, meta)
		}
	}
	return metas, nil
}

// hinted tells of a block that holds but a part of what the head held in its
// time, so that its maxTime says nothing of the head.
func hinted(m tsdb.BlockMeta) bool {
	return m.Compaction.FromOutOfOrder() || m.Compaction.FromStaleSeries() || m.Compaction.FromSelectedSeries()
}

// inOrderEnd is where the in-order samples that blocks hold end, exclusive: in
// the log, those before it count no more.
func inOrderEnd(metas []tsdb.BlockMeta) int64 {
	end := int64(math.MinInt64)
	for _, m := range metas {
		if !hinted(m) {
			end = max(end, m.MaxTime)
		}
	}
	return end
}

// trimHinted ends the hinted blocks where their samples end. Prometheus lets
// them reach to the end of their window, which lies ahead. Once a flush has cut
// a block of that window, Prometheus merges the two into one that counts as
// in-order: at its next start but one it would take all samples until the
// window's end for persisted, drop them from its log and refuse new ones.
func (f *flush) trimHinted(ctx context.Context, metas []tsdb.BlockMeta) error {
	end := max(inOrderEnd(metas), f.head.MaxTime()+1)
	for _, m := range metas {
		if !hinted(m) || m.MaxTime <= end {
			continue
		}
		dir := filepath.Join(f.dir, m.ULID.String())
		last, err := f.lastSample(ctx, dir)
		if err != nil {
			f.logger.Warn("block not readable", "block", m.ULID, "err", err)
			continue
		}
		if err := setMaxTime(dir, last+1); err != nil {
			return fmt.Errorf("flush: trim block %s: %w", m.ULID, err)
		}
	}
	return nil
}

// lastSample is the time of the latest sample in a block.
func (f *flush) lastSample(ctx context.Context, dir string) (last int64, err error) {
	b, err := tsdb.OpenBlock(f.logger, dir, nil, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ir, err := b.Index()
	if err != nil {
		return 0, err
	}
	defer ir.Close()
	last = b.MinTime()
	err = eachSeries(ctx, ir, func(metas []chunks.Meta) {
		for _, c := range metas {
			last = max(last, c.MaxTime)
		}
	})
	return last, err
}

// eachSeries calls do with the chunks of each series, which it may not keep.
func eachSeries(ctx context.Context, ir tsdb.IndexReader, do func([]chunks.Meta)) error {
	name, value := index.AllPostingsKey()
	p, err := ir.Postings(ctx, name, value)
	if err != nil {
		return err
	}
	var (
		builder labels.ScratchBuilder
		metas   []chunks.Meta
	)
	for p.Next() {
		if err := ir.Series(p.At(), &builder, &metas); err != nil {
			return err
		}
		do(metas)
	}
	return p.Err()
}

// setMaxTime changes the field in a meta.json and nothing else.
func setMaxTime(dir string, t int64) error {
	path := filepath.Join(dir, metaFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var meta map[string]json.RawMessage
	if err := json.Unmarshal(text, &meta); err != nil {
		return err
	}
	meta["maxTime"] = json.RawMessage(strconv.FormatInt(t, 10))
	if text, err = json.MarshalIndent(meta, "", "\t"); err != nil {
		return err
	}
	return renameio.WriteFile(path, text, 0o666)
}
