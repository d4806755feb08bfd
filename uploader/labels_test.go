package uploader

import (
	"os"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"
)

// TestKeptLabels has the labels noted as soon as they may be used, and when they
// change.
func TestKeptLabels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var external shared[labels.Labels]
		var conflict shared[string]
		u := made(t, dir, objstore.NewInMemBucket(), func(u *Uploader) {
			u.opts.Labels = func() (labels.Labels, error) { return external.get(), nil }
			u.opts.Conflict = conflict.get
		})
		start(t, u)
		want := func(l labels.Labels) {
			t.Helper()
			time.Sleep(time.Minute)
			if kept, err := KeptLabels(dir); err != nil || !labels.Equal(kept, l) {
				t.Errorf("kept %s, %v; want %s", kept, err, l)
			}
		}
		want(labels.EmptyLabels())
		a, b := labels.FromStrings("cluster", "test", "replica", "a"), labels.FromStrings("cluster", "test", "replica", "b")
		external.set(a)
		want(a)
		conflict.set("another has them")
		external.set(b)
		want(a)
		conflict.set("")
		want(b)
		if err := os.WriteFile(labelsFile(dir), []byte("{"), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := KeptLabels(dir); err == nil {
			t.Error("half a file is no file")
		}
	})
}
