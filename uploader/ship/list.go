package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
)

// Entry is one block of a bucket.
type Entry struct {
	ID      ulid.ULID
	Meta    *block.Meta // nil: it has none, so that it is not whole
	Err     error       // why its meta.json cannot be read
	Lacks   []string    // files that its meta.json lists and the bucket has not
	Deleted bool        // marked for deletion
	Gone    bool        // for Thanos: another one has all its sources; its compactor removes it
}

// Listing is what a bucket holds, by label set, oldest first.
type Listing []Entry

// readers is how many meta.json are read at once.
const readers = 32

// Blocks names the blocks in a bucket, in one request for a thousand of them,
// whether they are whole or not.
func Blocks(ctx context.Context, bkt objstore.BucketReader) ([]ulid.ULID, error) {
	var ids []ulid.ULID
	err := watched(ctx, func(ctx context.Context, progress func(int64)) error {
		return bkt.Iter(ctx, "", func(name string) error {
			progress(0)
			if id, ok := blockOf(name); ok {
				ids = append(ids, id)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list bucket: %w", err)
	}
	return ids, nil
}

// Metas reads the meta.json of these blocks and tells each, from one goroutine
// at a time. What has none, or none that can be read, is told with the reason;
// that the bucket does not answer is the error.
func Metas(ctx context.Context, bkt objstore.BucketReader, ids []ulid.ULID, tell func(Entry)) error {
	return each(ctx, ids, func(ctx context.Context, id ulid.ULID) (Entry, error) {
		meta, err := readMeta(ctx, bkt, id)
		cut := (*notMeta)(nil)
		if missing(bkt, errors.Unwrap(err)) {
			return Entry{ID: id}, nil
		}
		if err != nil && !errors.As(err, &cut) {
			return Entry{}, err
		}
		return Entry{ID: id, Meta: meta, Err: err}, nil
	}, tell)
}

// missing tells whether err says that an object is not there.
func missing(bkt objstore.BucketReader, err error) bool {
	return err != nil && bkt.IsObjNotFoundErr(err)
}

// each asks for each of many things, several at once, until one answer is an
// error. Answers are told from one goroutine at a time, in any order.
func each[K, A any](ctx context.Context, keys []K, ask func(context.Context, K) (A, error), tell func(A)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu     sync.Mutex
		asking sync.WaitGroup
		slots  = make(chan struct{}, readers)
	)
	for _, key := range keys {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		asking.Go(func() {
			defer func() { <-slots }()
			answer, err := ask(ctx, key)
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			tell(answer)
		})
	}
	asking.Wait()
	return context.Cause(ctx)
}

// List reads the meta.json of every block, and looks which of its files are there.
func List(ctx context.Context, bkt objstore.BucketReader) (Listing, error) {
	ids, err := Blocks(ctx, bkt)
	if err != nil {
		return nil, err
	}
	var l Listing
	if err := Metas(ctx, bkt, ids, func(e Entry) { l = append(l, e) }); err != nil {
		return nil, err
	}
	entries := make([]*Entry, len(l))
	for i := range l {
		entries[i] = &l[i]
	}
	err = each(ctx, entries, func(ctx context.Context, e *Entry) (func(), error) {
		there, err := objects(ctx, bkt, e.ID)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", e.ID, err)
		}
		return func() { e.found(there) }, nil
	}, func(note func()) { note() })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l, func(a, b Entry) int {
		if a.Meta == nil || b.Meta == nil { // last, by name
			return cmp.Or(cmp.Compare(btoi(a.Meta == nil), btoi(b.Meta == nil)), a.ID.Compare(b.ID))
		}
		return cmp.Or(cmp.Compare(a.group(), b.group()), cmp.Compare(a.Meta.MinTime, b.Meta.MinTime), a.ID.Compare(b.ID))
	})
	l.findGone()
	return l, nil
}

// found notes what there is of the block, by the objects' names.
func (e *Entry) found(there map[string]bool) {
	e.Deleted = there[path.Join(e.ID.String(), "deletion-mark.json")]
	if e.Meta == nil {
		return
	}
	wanted := []string{"index"} // of a block whose files nobody has listed
	if len(e.Meta.Thanos.Files) > 0 {
		wanted = nil
	}
	for _, f := range e.Meta.Thanos.Files {
		wanted = append(wanted, f.RelPath)
	}
	for _, name := range wanted {
		if name != metaName && !there[path.Join(e.ID.String(), name)] {
			e.Lacks = append(e.Lacks, name)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// group names the label set and the resolution, within which blocks must not
// overlap.
func (e *Entry) group() string {
	name := labelsText(e.Meta.Thanos.Labels)
	if r := e.Meta.Thanos.Downsample.Resolution; r > 0 {
		name += " resolution " + (time.Duration(r) * time.Millisecond).String()
	}
	return name
}

func labelsText(labels map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// state says what there is of the block.
func (e *Entry) state() string {
	switch {
	case e.Err != nil:
		return "unreadable: " + e.Err.Error()
	case e.Meta == nil:
		return "not whole: no meta.json"
	case e.Deleted:
		return "marked for deletion"
	case len(e.Lacks) > 1:
		return fmt.Sprintf("lacks %s and %d more", e.Lacks[0], len(e.Lacks)-1)
	case len(e.Lacks) == 1:
		return "lacks " + e.Lacks[0]
	case e.Gone:
		return "replaced by another one"
	}
	return "whole"
}

// WriteTable writes the listing of a bucket for a person.
func (l Listing) WriteTable(w io.Writer, bucket string) error {
	if len(l) == 0 {
		_, err := fmt.Fprintf(w, "no blocks in %s\n", bucket)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	group := ""
	for i := range l {
		e := &l[i]
		if e.Meta == nil {
			fmt.Fprintf(t, "%s\t%s\n", e.ID, e.state())
			continue
		}
		if name := e.group(); name != group {
			group = name
			fmt.Fprintf(t, "%s\n  BLOCK\tFROM\tUNTIL\tRANGE\tSAMPLES\tSERIES\tBYTES\tLEVEL\tSOURCE\tSTATE\n", name)
		}
		bytes := int64(0)
		for _, f := range e.Meta.Thanos.Files {
			bytes += f.SizeBytes
		}
		span := time.Duration(e.Meta.MaxTime-e.Meta.MinTime) * time.Millisecond
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", e.ID, clock(e.Meta.MinTime), clock(e.Meta.MaxTime), span.Round(time.Second),
			e.Meta.Stats.NumSamples, e.Meta.Stats.NumSeries, bytes, e.Meta.Compaction.Level, e.Meta.Thanos.Source, e.state())
	}
	return t.Flush()
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z07:00") }
