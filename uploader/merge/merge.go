// Package merge makes one block out of several that overlap, or a smaller one
// out of one: samples outside of a span are left out, and so are those that are
// marked as deleted. It works in a directory of its caller's, where it may leave
// half a block behind when it is killed. When that is to happen others decide.
package merge

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/ringside-project/ringside/uploader/block"
)

// minSegment is the least that a chunk segment is given.
const minSegment = 1 << 20

// Merge is what to make one block of.
type Merge struct {
	Dir              string         // where it is to be made
	Parts            []*block.Block // copies: when it fails, the compactor notes so in their meta.json
	MinTime, MaxTime int64          // samples in [MinTime, MaxTime) are kept; ms
	Sources          []ulid.ULID    // the blocks of Prometheus's of which all samples are kept
	Of               []ulid.ULID    // those of which any are
	Logger           *slog.Logger
}

// Do makes a block of all samples of the parts in the span. One that several
// parts have it has once. It is its own source too where it has but a part of
// others. It is nil when there are no such samples.
func (m Merge) Do(ctx context.Context) (*block.Block, error) {
	parts := slices.Clone(m.Parts)
	slices.SortFunc(parts, func(a, b *block.Block) int { return cmp.Compare(a.Meta.MinTime, b.Meta.MinTime) })
	var (
		dirs    []string
		bytes   int64
		inOrder bool
	)
	for _, p := range parts {
		dirs = append(dirs, p.Dir)
		bytes += p.Bytes
		inOrder = inOrder || len(p.Meta.Compaction.Hints) == 0
	}
	compactor, err := tsdb.NewLeveledCompactorWithOptions(ctx, nil, m.Logger, []int64{m.MaxTime - m.MinTime}, nil, tsdb.LeveledCompactorOptions{
		// A segment is allocated whole before it is written to.
		MaxBlockChunkSegmentSize:    min(chunks.DefaultChunkSegmentSize, max(2*bytes, minSegment)),
		EnableOverlappingCompaction: true,
	})
	if err != nil {
		return nil, fmt.Errorf("merge blocks: %w", err)
	}
	ids, err := compactor.CompactWithBlockPopulator(m.Dir, dirs, nil, trimmed{merge: m, inOrder: inOrder})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	made, err := block.Read(filepath.Join(m.Dir, ids[0].String()))
	if err != nil {
		return nil, fmt.Errorf("read merged block: %w", err)
	}
	if m.partial() {
		made.Meta.Thanos.Extensions.MadeOf = m.Of
	}
	return made, nil
}

// partial tells whether there are blocks of which but a part is kept.
func (m Merge) partial() bool {
	return slices.ContainsFunc(m.Of, func(id ulid.ULID) bool { return !slices.Contains(m.Sources, id) })
}

// trimmed is a populator that keeps to a span.
type trimmed struct {
	tsdb.DefaultBlockPopulator
	merge   Merge
	inOrder bool // one of the parts is: the whole counts as such
}

func (t trimmed) PopulateBlock(ctx context.Context, metrics *tsdb.CompactorMetrics, logger *slog.Logger, pool chunkenc.Pool,
	vertical storage.VerticalChunkSeriesMergeFunc, blocks []tsdb.BlockReader, meta *tsdb.BlockMeta, index tsdb.IndexWriter, chunkw tsdb.ChunkWriter,
	postings tsdb.IndexReaderPostingsFunc,
) error {
	meta.MinTime, meta.MaxTime = t.merge.MinTime, t.merge.MaxTime
	meta.Compaction.Sources = slices.Clone(t.merge.Sources)
	if t.merge.partial() {
		meta.Compaction.Sources = append(meta.Compaction.Sources, meta.ULID)
	}
	slices.SortFunc(meta.Compaction.Sources, ulid.ULID.Compare)
	if t.inOrder {
		meta.Compaction.Hints = nil
	}
	return t.DefaultBlockPopulator.PopulateBlock(ctx, metrics, logger, pool, vertical, blocks, meta, index, chunkw, postings)
}
