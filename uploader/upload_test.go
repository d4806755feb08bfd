package uploader

import (
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/head"
)

func TestEverySampleReachesTheBucketOnce(t *testing.T) {
	dir, bkt := t.TempDir(), objstore.NewInMemBucket()
	db := lively(t, dir, tsdb.DefaultOptions())
	q, err := db.Querier(0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	want := query(t, q)
	q.Close()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	u := made(t, dir, bkt, func(u *Uploader) { u.cut = head.Flush })
	if err := u.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameContent(t, bkt, want)
	left, err := filepath.Glob(filepath.Join(dir, "ringside", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v %v is left staged", left, err)
	}
}
