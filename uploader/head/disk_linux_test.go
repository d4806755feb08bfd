package head_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sys/unix"

	"github.com/ringside-project/ringside/uploader/head"
)

// TestDiskFull has a disk without room to begin, and then enough of it.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 128<<20)
	dir := filepath.Join(disk, "data")
	db := open(t, dir, outOfOrder(4))
	putRandom(t, db)
	want := everything(t, db)
	shut(t, db)
	files := list(t, dir)
	asWas := func() {
		t.Helper()
		left := list(t, dir)
		for name, size := range files {
			if left[name] != size {
				t.Errorf("%s has %d bytes now, of %d", name, left[name], size)
			}
		}
	}

	ballast := fillUp(t, disk, 1<<20)
	if _, err := head.Flush(t.Context(), dir, head.Options{}, quiet); err == nil || !strings.Contains(err.Error(), "1 MiB free on its disk, ") {
		t.Errorf("with 1 MiB free: %v", err)
	}
	asWas()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	flush(t, dir)
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	aligned(t, metas)
}

// TestElsewhere has the logs and head chunks in other places than the data
// directory, on the same disk or another one.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(*testing.T) string{
		"the same disk": func(t *testing.T) string { return t.TempDir() },
		"another disk":  func(t *testing.T) string { return smallDisk(t, 128<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, want := crashed(t)
			there := other(t)
			for _, part := range []string{"wal", "wbl", "chunks_head"} {
				if err := os.CopyFS(filepath.Join(there, part), os.DirFS(filepath.Join(dir, part))); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(os.RemoveAll(filepath.Join(dir, part)), os.Symlink(filepath.Join(there, part), filepath.Join(dir, part))); err != nil {
					t.Fatal(err)
				}
			}
			before := list(t, filepath.Join(there, "wal"))
			flush(t, dir)
			got, _ := inBlocks(t, dir)
			equal(t, "blocks", got, want)
			if after := list(t, filepath.Join(there, "wal")); !maps.Equal(before, after) {
				t.Errorf("the log was %v, and is %v", before, after)
			}
		})
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "nosuch"), filepath.Join(dir, "wal")); err != nil {
		t.Fatal(err)
	}
	if _, err := head.Flush(t.Context(), dir, head.Options{}, quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a log that is not there: %v", err)
	}
}

// smallDisk mounts a disk of its own for the test, or skips it.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, unix.EPERM) {
		t.Skip("SKIP: to mount a small disk needs root; try: sudo, or unshare --user --map-root-user --mount")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp leaves so many bytes.
func fillUp(t *testing.T, disk string, leave uint64) (path string) {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(disk, &s); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(disk, "ballast")
	if err := os.WriteFile(path, make([]byte, s.Bavail*uint64(s.Bsize)-leave), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// putRandom appends values that do not compress, to several windows.
func putRandom(t *testing.T, db *tsdb.DB) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for from := base; from < base+5*60*minute; from += 10 * minute {
		app := db.Appender(t.Context())
		for i := range 200 {
			series := labels.FromStrings("__name__", fmt.Sprint("random", i))
			for _, at := range each(from, from+10*minute-1, minute/10) {
				if _, err := app.Append(0, series, at, random.Float64()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files := map[string]int64{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			files[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
