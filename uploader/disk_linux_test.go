package uploader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thanos-io/objstore"
	"golang.org/x/sys/unix"
)

// TestDiskFull has no room left on the disk for a merge, and then for the list of
// what is uploaded. Once there is room everything goes on by itself.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	err := unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", 16<<20))
	if errors.Is(err, unix.EPERM) {
		t.Skip("SKIP: to mount a small disk needs root; try: sudo, or unshare --user --map-root-user --mount")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T) {
		dir, bkt := filepath.Join(disk, "data"), objstore.NewInMemBucket()
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		elsewhere := t.TempDir()
		var parts []content
		for _, names := range [][]string{{"a", "b"}, {"c"}} {
			id := write(t, elsewhere, origin, origin+2*hour, names...)
			if err := os.CopyFS(filepath.Join(dir, id.String()), os.DirFS(filepath.Join(elsewhere, id.String()))); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, read(t, filepath.Join(dir, id.String())))
		}
		u := made(t, dir, bkt, nil)
		before := files(t, dir)
		ballast := fill(t, disk)
		start(t, u)
		time.Sleep(10 * time.Minute)
		for _, b := range u.Status().Blocks {
			if b.State != stateFailed || !strings.Contains(b.Reason, "no space left on device") {
				t.Errorf("%+v", b)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		sameContent(t, bkt, join(parts...))
		if after := files(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("a file of Prometheus's has changed")
		}
	})
}

// fill takes all the room there is.
func fill(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return f.Name()
}
