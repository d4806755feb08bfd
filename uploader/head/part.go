package head

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// part is a window of a head, to be written as a block, without the deleted
// samples. It leaves them out itself: tsdb knows no deletions in out-of-order
// samples, and it panics where a chunk that reaches beyond the window has
// several, the last of them at its end.
type part struct {
	tsdb.BlockReader
	deleted *tombstones.MemTombstones
	end     func(chunks.Meta) int64 // of a chunk: a better one than its MaxTime
	sorted  []storage.SeriesRef     // all series by their labels; nil: not known
}

func (p part) Tombstones() (tombstones.Reader, error) { return tombstones.NewMemTombstones(), nil }

func (p part) Index() (tsdb.IndexReader, error) {
	r, err := p.BlockReader.Index()
	return partIndex{r, p}, err
}

func (p part) Chunks() (tsdb.ChunkReader, error) {
	r, err := p.BlockReader.Chunks()
	if err != nil || p.deleted.Total() == 0 {
		return r, err
	}
	return partChunks{r, r.(tsdb.ChunkReaderWithCopy), p.deleted}, nil
}

// partIndex says when open chunks end, so that they need not be encoded anew,
// and does not sort again what is sorted.
type partIndex struct {
	tsdb.IndexReader
	part part
}

func (r partIndex) SortedPostings(p index.Postings) index.Postings {
	if r.part.sorted == nil {
		return r.IndexReader.SortedPostings(p)
	}
	return index.NewListPostings(r.part.sorted)
}

func (r partIndex) Series(ref storage.SeriesRef, builder *labels.ScratchBuilder, metas *[]chunks.Meta) error {
	err := r.IndexReader.Series(ref, builder, metas)
	if metas != nil {
		for i, c := range *metas {
			(*metas)[i].MaxTime = r.part.end(c)
		}
	}
	return err
}

// partChunks gives chunks of series with deletions to be encoded anew.
type partChunks struct {
	tsdb.ChunkReader
	copier  tsdb.ChunkReaderWithCopy
	deleted *tombstones.MemTombstones
}

func (r partChunks) ChunkOrIterable(m chunks.Meta) (chunkenc.Chunk, chunkenc.Iterable, error) {
	c, it, err := r.ChunkReader.ChunkOrIterable(m)
	c, it = r.without(m, c, it)
	return c, it, err
}

func (r partChunks) ChunkOrIterableWithCopy(m chunks.Meta) (chunkenc.Chunk, chunkenc.Iterable, int64, error) {
	c, it, maxt, err := r.copier.ChunkOrIterableWithCopy(m)
	c, it = r.without(m, c, it)
	return c, it, maxt, err
}

func (r partChunks) without(m chunks.Meta, c chunkenc.Chunk, it chunkenc.Iterable) (chunkenc.Chunk, chunkenc.Iterable) {
	series, _ := chunks.HeadChunkRef(m.Ref).Unpack()
	deleted, _ := r.deleted.Get(storage.SeriesRef(series)) // in memory: no error
	if len(deleted) == 0 {
		return c, it
	}
	if c != nil {
		it = c
	}
	return nil, partSamples{it, deleted}
}

type partSamples struct {
	chunkenc.Iterable
	deleted tombstones.Intervals
}

func (s partSamples) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return &tsdb.DeletedIterator{Iter: s.Iterable.Iterator(nil), Intervals: slices.Clone(s.deleted)}
}
