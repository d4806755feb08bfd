package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// Unfit is Check's error for a block that must not be uploaded as it is.
type Unfit struct {
	Reason string // and what to change, if anything can be
}

func (u *Unfit) Error() string { return u.Reason }

func corrupt(format string, args ...any) error {
	return &Unfit{Reason: "the block is corrupt: " + fmt.Sprintf(format, args...)}
}

// Check reads the whole block: its index, and each chunk with its checksum. The
// error is an *Unfit if the block is corrupt, would make a Thanos compactor
// halt, or, unless anyEncoding is set, holds chunks that released versions of
// Thanos cannot decode; any other error says why the block could not be read
// now.
func Check(ctx context.Context, b *Block, anyEncoding bool) error {
	chunkReader, err := chunks.NewDirReader(filepath.Join(b.Dir, chunksName), nil)
	if err != nil {
		return opened("chunks", err)
	}
	defer chunkReader.Close()
	indexReader, err := index.NewFileReader(filepath.Join(b.Dir, indexName), index.DecodePostingsRaw)
	if err != nil {
		return opened(indexName, err)
	}
	defer indexReader.Close()

	if _, err := b.Tombstones(); err != nil {
		return opened(tombstonesName, err)
	}
	c := checker{meta: &b.Meta, chunks: chunkReader, encodings: map[chunkenc.Encoding]uint64{}}
	if err := c.all(ctx, indexReader); err != nil {
		return err
	}
	if anyEncoding {
		return nil
	}
	return c.unreadable()
}

// opened tells a file that is not whole from one that cannot be opened now.
func opened(what string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", what, err)
	}
	return corrupt("%s: %v", what, err)
}

type checker struct {
	meta      *Meta
	chunks    *chunks.Reader
	encodings map[chunkenc.Encoding]uint64 // chunks of each

	series, count, samples uint64
	last                   labels.Labels
}

// all goes over all series. A context that ends shows as its own error, not as
// a corrupt block.
func (c *checker) all(ctx context.Context, ir *index.Reader) error {
	name, value := index.AllPostingsKey()
	postings, err := ir.Postings(ctx, name, value)
	if err != nil {
		return corrupt("index: all postings: %v", err)
	}
	var (
		builder labels.ScratchBuilder
		metas   []chunks.Meta
	)
	for postings.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		metas = metas[:0]
		if err := ir.Series(postings.At(), &builder, &metas); err != nil {
			return corrupt("index: series %d: %v", postings.At(), err)
		}
		if err := c.one(builder.Labels(), metas); err != nil {
			return err
		}
	}
	if err := postings.Err(); err != nil {
		return corrupt("index: postings: %v", err)
	}
	stats := c.meta.Stats
	for _, n := range []struct {
		name        string
		found, told uint64
	}{{"series", c.series, stats.NumSeries}, {"chunks", c.count, stats.NumChunks}, {"samples", c.samples, stats.NumSamples}} {
		if n.found != n.told {
			return corrupt("it holds %d %s, and meta.json says %d", n.found, n.name, n.told)
		}
	}
	return nil
}

// one checks a series: its place among the others, its labels, and its chunks.
func (c *checker) one(series labels.Labels, metas []chunks.Meta) error {
	c.series++
	if c.series > 1 && labels.Compare(c.last, series) >= 0 {
		return corrupt("index: series %s comes after %s", series, c.last)
	}
	c.last = series
	if err := sorted(series); err != nil {
		return err
	}
	end := int64(math.MinInt64)
	for _, m := range metas {
		if m.MinTime <= end || m.MaxTime < m.MinTime {
			return corrupt("the chunks of series %s are not in order of time", series)
		}
		end = m.MaxTime
		if m.MinTime < c.meta.MinTime || m.MaxTime >= c.meta.MaxTime {
			return corrupt("a chunk of series %s, from %d to %d, is not within the block, from %d to %d",
				series, m.MinTime, m.MaxTime, c.meta.MinTime, c.meta.MaxTime)
		}
		chunk, _, err := c.chunks.ChunkOrIterable(m)
		if err != nil {
			return corrupt("chunk %d of series %s: %v", m.Ref, series, err)
		}
		c.count++
		c.samples += uint64(chunk.NumSamples())
		c.encodings[chunk.Encoding()]++
	}
	return nil
}

func sorted(series labels.Labels) error {
	previous, first := "", true
	return series.Validate(func(l labels.Label) error {
		if !first && l.Name <= previous {
			return corrupt("index: the labels of series %s are not in order", series)
		}
		previous, first = l.Name, false
		return nil
	})
}

// readable are the encodings that released versions of Thanos know.
var readable = []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncHistogram, chunkenc.EncFloatHistogram}

// unreadable names the chunks that Thanos could not decode, and what makes
// Prometheus write them.
func (c *checker) unreadable() error {
	var found []string
	for _, e := range slices.Sorted(maps.Keys(c.encodings)) {
		if !slices.Contains(readable, e) {
			found = append(found, fmt.Sprintf("%d of encoding %s", c.encodings[e], e))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &Unfit{Reason: fmt.Sprintf("of its %d chunks released versions of Thanos cannot decode %s: start Prometheus without "+
		"--enable-feature=st-storage, xor2-encoding and histograms-st-encoding, and without storage.tsdb.chunk_encoding.floats: xor2 in prometheus.yml; "+
		"or, if whatever reads the bucket can decode them, set uploader.allow_unreadable_chunks: true",
		c.count, strings.Join(found, ", "))}
}
