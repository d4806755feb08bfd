package uploader

import (
	"context"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/plan"
	"github.com/ringside-project/ringside/uploader/ship"
)

// view is what the bucket held when it was last looked at: of the blocks of
// other labels, which may be many, only that they are such. It does not change.
type view struct {
	at     time.Time // when the look began
	wanted map[string]bool
	seen   map[ulid.ULID]bool
	remote map[ulid.ULID]plan.Remote
}

// wants are the blocks that concern this member.
type wants struct {
	labels map[string]bool    // of these external labels
	blocks map[ulid.ULID]bool // or made of these
}

// look lists the bucket and reads the meta.json of each block that old does not
// know. Blocks without one do not count; they are looked at again next time. With
// an error the view is what has been learnt until then, for the next look to go on
// from, and nil if that is nothing.
func look(ctx context.Context, bkt objstore.BucketReader, old *view, w wants) (*view, error) {
	next := &view{at: time.Now(), wanted: w.labels, seen: map[ulid.ULID]bool{}, remote: map[ulid.ULID]plan.Remote{}}
	ids, err := ship.Blocks(ctx, bkt)
	if err != nil {
		return nil, err
	}
	for l := range w.labels {
		if old != nil && !old.wanted[l] {
			old = nil // what was left out then may matter now
		}
	}
	var unknown []ulid.ULID
	for _, id := range ids {
		if old == nil || !old.seen[id] {
			unknown = append(unknown, id)
			continue
		}
		next.seen[id] = true
		if r, ok := old.remote[id]; ok {
			next.remote[id] = r
		}
	}
	err = ship.Metas(ctx, bkt, unknown, func(e ship.Entry) {
		if e.Meta == nil {
			return
		}
		next.seen[e.ID] = true
		if r := remote(e.Meta); w.labels[r.Labels] || w.any(r.Of) {
			next.remote[e.ID] = r
		}
	})
	return next, err
}

func (w wants) any(ids []ulid.ULID) bool {
	for _, id := range ids {
		if w.blocks[id] {
			return true
		}
	}
	return false
}

// remote is a block of a bucket as the plan sees it.
func remote(m *block.Meta) plan.Remote {
	of := slices.Clone(m.Compaction.Sources)
	for _, id := range m.Thanos.Extensions.MadeOf {
		if !slices.Contains(of, id) {
			of = append(of, id)
		}
	}
	return plan.Remote{
		ID:          m.ULID,
		Span:        plan.Span{Min: m.MinTime, Max: m.MaxTime},
		Sources:     m.Compaction.Sources,
		Of:          of,
		Labels:      labelsKey(m.Thanos.Labels),
		InOrder:     len(m.Compaction.Hints) == 0,
		Downsampled: m.Thanos.Downsample.Resolution > 0,
	}
}

// labelsKey tells label sets apart.
func labelsKey(external map[string]string) string { return labels.FromMap(external).String() }
