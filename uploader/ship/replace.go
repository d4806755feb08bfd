package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

const noCompactName = "no-compact-mark.json"

// noCompactMark is Thanos's, as of its version 1.
type noCompactMark struct {
	ID      ulid.ULID `json:"id"`
	Version int       `json:"version"`
	Details string    `json:"details"`
	Time    int64     `json:"no_compact_time"` // s since 1970
	Reason  string    `json:"reason"`
}

// Reserve keeps Thanos's compactor from joining blocks of the bucket with others
// until it has seen the one that is to take their place: the result would overlap
// that one. It removes them then, marks and all.
func (s *Shipper) Reserve(ctx context.Context, replaced []ulid.ULID, by ulid.ULID) error {
	for _, id := range replaced {
		if err := s.reserve(ctx, id, by); err != nil {
			return fmt.Errorf("mark %s, which is to be replaced: %w", id, err)
		}
	}
	return nil
}

func (s *Shipper) reserve(ctx context.Context, id, by ulid.ULID) error {
	name := path.Join(id.String(), noCompactName)
	_, err := ask(ctx, func(ctx context.Context) (struct{}, error) {
		marked, err := s.bucket.Exists(ctx, name)
		if err != nil || marked {
			return struct{}{}, err
		}
		there, err := s.bucket.Exists(ctx, path.Join(id.String(), metaName))
		if err != nil || !there { // removed since
			return struct{}{}, err
		}
		raw, err := json.Marshal(noCompactMark{
			ID: id, Version: 1, Details: "ringside replaces it by block " + by.String() + ", which has late samples too", Time: time.Now().Unix(), Reason: "manual",
		})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.bucket.Upload(ctx, name, bytes.NewReader(raw))
	})
	return err
}

// findGone finds, in a sorted listing, the blocks that another one replaces: it
// has all their sources, and so their time.
func (l Listing) findGone() {
	for i := range l {
		for j := i + 1; j < len(l) && l[i].Meta != nil && l[j].Meta != nil && l[j].Meta.MinTime < l[i].Meta.MaxTime && l[j].group() == l[i].group(); j++ {
			l[i].Gone = l[i].Gone || l[j].outdoes(&l[i])
			l[j].Gone = l[j].Gone || l[i].outdoes(&l[j])
		}
	}
}

// outdoes tells whether Thanos takes o, of the same group, for a leftover of what
// e was made of. One that is marked for deletion does so only for a while.
func (e *Entry) outdoes(o *Entry) bool {
	these, those := o.Meta.Compaction.Sources, e.Meta.Compaction.Sources
	if e.Deleted || len(these) == 0 || len(those) < len(these) || len(those) == len(these) && e.ID.Compare(o.ID) > 0 {
		return false
	}
	return !slices.ContainsFunc(these, func(id ulid.ULID) bool { return !slices.Contains(those, id) })
}
