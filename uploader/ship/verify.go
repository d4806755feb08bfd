package ship

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
)

// Report is what Verify found.
type Report struct {
	Blocks   int      // looked at
	Bytes    int64    // that they should have
	Problems []string // blocks that are not whole, or overlap
	Notes    []string // blocks that may be on their way
	Gaps     []string // time between two blocks of a label set, longer than lookback; it may well be right
}

// lookback is for how long Prometheus shows the last sample: shorter gaps are in no
// graph, and every block begins at its first sample, a little after the one before.
const lookback = 5 * time.Minute

// partialFor is for how long a Thanos compactor, too, takes a block without meta.json
// for one that is being uploaded.
const partialFor = 48 * time.Hour

// Verify compares the objects of every block with its meta.json: that they are
// there, their sizes and, with hashes, their contents, which reads all of them.
// It also looks for overlaps, and for gaps longer than lookback, in the time of each
// label set. Blocks that
// are marked for deletion are left out, and those that another one replaces
// overlap it by right.
func Verify(ctx context.Context, bkt objstore.BucketReader, l Listing, hashes bool) (Report, error) {
	r := Report{}
	for i := range l {
		e := &l[i]
		if e.Deleted {
			continue
		}
		r.Blocks++
		if e.Meta == nil {
			if err := r.lacking(ctx, bkt, e); err != nil {
				return r, err
			}
			continue
		}
		if err := r.block(ctx, bkt, e, hashes); err != nil {
			return r, err
		}
	}
	r.times(l)
	return r, nil
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// lacking tells of a block without a meta.json that can be read.
func (r *Report) lacking(ctx context.Context, bkt objstore.BucketReader, e *Entry) error {
	young := false
	if e.Err == nil {
		var err error
		if young, err = underWay(ctx, bkt, e.ID); err != nil {
			return err
		}
	}
	if !young {
		r.problem("%s: %s", e.ID, e.state())
		return nil
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%s: %s: its upload is under way, or was cut less than %s ago", e.ID, e.state(), partialFor))
	return nil
}

// underWay tells whether the block, or an object of it, is younger than partialFor.
func underWay(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (bool, error) {
	since := time.Now().Add(-partialFor)
	if id.Timestamp().After(since) {
		return true, nil
	}
	names, err := objects(ctx, bkt, id)
	if err != nil {
		return false, fmt.Errorf("list %s: %w", id, err)
	}
	for name := range names {
		attributes, err := ask(ctx, func(ctx context.Context) (objstore.ObjectAttributes, error) { return bkt.Attributes(ctx, name) })
		if err != nil && !missing(bkt, err) {
			return false, fmt.Errorf("look at %s: %w", name, err)
		}
		if attributes.LastModified.After(since) {
			return true, nil
		}
	}
	return false, nil
}

// block checks the objects of one block. The error says that the bucket does
// not answer.
func (r *Report) block(ctx context.Context, bkt objstore.BucketReader, e *Entry, hashes bool) error {
	if len(e.Meta.Thanos.Files) == 0 {
		r.problem("%s: its meta.json lists no files: there is nothing to compare with", e.ID)
	}
	for _, f := range e.Meta.Thanos.Files {
		if f.RelPath == metaName {
			continue
		}
		r.Bytes += f.SizeBytes
		name := path.Join(e.ID.String(), f.RelPath)
		attributes, err := ask(ctx, func(ctx context.Context) (objstore.ObjectAttributes, error) { return bkt.Attributes(ctx, name) })
		switch {
		case missing(bkt, err):
			r.problem("%s: it is missing, and meta.json lists it", name)
		case err != nil:
			return fmt.Errorf("look at %s: %w", name, err)
		case attributes.Size != f.SizeBytes:
			r.problem("%s: it has %d bytes, and meta.json says %d", name, attributes.Size, f.SizeBytes)
		case hashes:
			if err := r.contents(ctx, bkt, name, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Report) contents(ctx context.Context, bkt objstore.BucketReader, name string, f block.File) error {
	if f.Hash == nil {
		return nil
	}
	hash, err := hashOf(ctx, bkt, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if *hash != *f.Hash {
		r.problem("%s: its SHA-256 is %s, and meta.json says %s", name, hash.Value, f.Hash.Value)
	}
	return nil
}

// times looks for overlaps and gaps among blocks that are in order.
func (r *Report) times(l Listing) {
	whole := slices.DeleteFunc(slices.Clone(l), func(e Entry) bool { return e.Meta == nil || e.Deleted || e.Gone })
	var last *Entry // the one of the group that goes furthest
	for i := range whole {
		e := &whole[i]
		if last == nil || last.group() != e.group() {
			last = e
			continue
		}
		switch gap := time.Duration(e.Meta.MinTime-last.Meta.MaxTime) * time.Millisecond; {
		case gap < 0:
			r.problem("%s: blocks %s and %s overlap from %s to %s", e.group(), last.ID, e.ID,
				clock(e.Meta.MinTime), clock(min(last.Meta.MaxTime, e.Meta.MaxTime)))
		case gap > lookback:
			r.Gaps = append(r.Gaps, fmt.Sprintf("%s: nothing from %s to %s (%s)", e.group(),
				clock(last.Meta.MaxTime), clock(e.Meta.MinTime), gap))
		}
		if e.Meta.MaxTime > last.Meta.MaxTime {
			last = e
		}
	}
}

// OK tells whether nothing is wrong. Notes and gaps are not wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// WriteText writes the report on a bucket for a person.
func (r Report) WriteText(w io.Writer, bucket string) error {
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(w, "problem  %s\n", p); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "note     %s\n", n); err != nil {
			return err
		}
	}
	for _, g := range r.Gaps {
		if _, err := fmt.Fprintf(w, "gap      %s\n", g); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s: %d blocks, %d bytes: %d problems, %d gaps\n", bucket, r.Blocks, r.Bytes, len(r.Problems), len(r.Gaps))
	return err
}
