package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sys/unix"
)

// diskSize is that of a disk on which a head can be flushed, with little to spare.
const diskSize = 128 << 20

// The disk becomes full while a head is flushed, at one point after another. The program
// ends and says so - where tsdb cannot write head chunks, in tsdb's own way, by a panic -
// or waits; what Prometheus has left stays as it was; and once there is room all samples
// are in the bucket, each once.
func TestUploadDiskFull(t *testing.T) {
	t.Parallel()
	d := newSmallDisk(t)
	whole := d.flush(nil)
	if whole.failed != "" {
		t.Fatalf("with enough room: %s", whole.failed)
	}
	ends := map[string]int{}
	const points = 8
	for i := range points {
		after := whole.took * time.Duration(i) / points
		got := d.flush(func(flush *Unit) (free func()) {
			select {
			case <-time.After(after):
			case <-flush.done:
			}
			return d.fill(d.data)
		})
		if got.failed == "" {
			ends["well"]++
			continue
		}
		reason := full.FindString(got.failed)
		if reason == "" {
			t.Errorf("it does not say that the disk is full: %s", got.failed)
		}
		if strings.Contains(got.failed, "\npanic: ") {
			reason += ", by a panic"
		}
		ends[reason]++
	}
	if ends["well"] == points {
		t.Error("the disk was never full too early")
	}
	d.measured("the disk was full at %d points of a flush of %d samples, which takes %s; in the end all were there, once; it ended %v",
		points, d.samples, whole.took.Round(time.Millisecond), ends)
}

// full is what is said of a full disk.
var full = regexp.MustCompile(`free on its disk|no space left on device`)

// A sidecar has to merge blocks, and has no room to. Once there is some, it goes on.
func TestUploadMergeDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 1, targets: 1, replicas: 1, source: uploadSource()})
	pair := r.Pairs[0]
	r.uploadsTo(pair, r.filesystem())
	data := filepath.Join(pair.Dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if r.disk(data, diskSize) == nil {
		t.Skip(needsRoot)
	}
	first := r.beside("first") // Prometheus tells of it at once, and so nobody waits for it to tell of the others
	r.block(first, r.started.Add(-9*time.Hour), 20)
	if err := os.CopyFS(data, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	r.up(pair)
	// Blocks become visible by renaming them, for which there is room.
	made, hidden := r.beside("made"), filepath.Join(data, "made")
	var ids []string
	for range 2 {
		ids = append(ids, r.block(made, r.started.Add(-5*time.Hour), 20))
	}
	if err := os.CopyFS(hidden, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	free := r.fill(data)
	for _, id := range ids {
		if err := os.Rename(filepath.Join(hidden, id), filepath.Join(data, id)); err != nil {
			t.Fatal(err)
		}
	}
	r.await(40*time.Second, "seen to be full", func() error {
		st, err := pair.uploads(r.Context())
		if err != nil {
			return err
		}
		for _, id := range ids {
			if b := st.block(id); b.State != "failed" || !full.MatchString(b.Reason) {
				return fmt.Errorf("block: %+v", b)
			}
		}
		return nil
	})
	free()
	took := r.await(time.Minute, "merged and up", func() error {
		st, err := pair.uploads(r.Context())
		if err != nil {
			return err
		}
		for _, id := range ids {
			if b := st.block(id); b.State != "merged" && b.State != "covered" {
				return fmt.Errorf("block: %+v", b)
			}
		}
		return nil
	})
	r.complete("ringside-verify", pair.Dir, os.Getenv("RINGSIDE"), "bucket", "verify", "--hashes", "--config.file=ringside.yml")
	if up, err := filepath.Glob(filepath.Join(r.beside("blocks"), "01*", "meta.json")); err != nil || len(up) != 2 {
		t.Errorf("the bucket has %q: %v", up, err)
	}
	r.measured("two blocks that overlap were one in the bucket %s after there was room for it", took.Round(10*time.Millisecond))
}

const needsRoot = "SKIP: to mount a small disk needs root; try: sudo, or unshare --user --map-root-user --mount"

// smallDisk is a pair whose data directory is a disk of its own.
type smallDisk struct {
	*rig
	data     string // the mount point
	template string // what a Prometheus has left in it
	samples  int
	config   string // ringside.yml without the bucket
	runs     int
}

func newSmallDisk(t *testing.T) *smallDisk {
	t.Helper()
	d := &smallDisk{rig: newRig(t, setup{pairs: 1, targets: 1, replicas: 1, source: uploadSource()})}
	d.data, d.template = filepath.Join(d.Pairs[0].Dir, "data"), d.beside("template")
	text, err := os.ReadFile(filepath.Join(d.Pairs[0].Dir, "ringside.yml"))
	if err == nil {
		err = os.Mkdir(d.data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.config = string(text)
	d.head()
	return d
}

// head makes the data directory of a Prometheus that was killed before it had written any
// head chunks: to read the log writes them. Values do not compress.
func (d *smallDisk) head() {
	d.Helper()
	const series, each, step = 2000, 500, 30_000 // ms: four hours, three windows
	o := tsdb.DefaultOptions()
	o.RetentionDuration = 0
	db, err := tsdb.Open(d.beside("live"), promslog.NewNopLogger(), nil, o, nil)
	if err != nil {
		d.Fatal(err)
	}
	db.DisableCompactions()
	start, random := d.started.Add(-5*time.Hour).UnixMilli(), rand.New(rand.NewPCG(1, 2))
	for at := range int64(each) {
		app := db.Appender(d.Context())
		for i := range series {
			if _, err := app.Append(0, labels.FromStrings("__name__", "random", "i", fmt.Sprint(i)), start+at*step, random.Float64()); err != nil {
				d.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			d.Fatal(err)
		}
	}
	d.samples = series * each
	if err := errors.Join(os.CopyFS(d.template, os.DirFS(db.Dir())), os.Remove(filepath.Join(d.template, "lock")), db.Close()); err != nil {
		d.Fatal(err)
	}
}

// mount makes the data directory a new disk, with what Prometheus has left.
func (d *smallDisk) mount() (unmount func()) {
	d.Helper()
	if unmount = d.disk(d.data, diskSize); unmount == nil {
		d.Skip(needsRoot)
	}
	if err := os.CopyFS(d.data, os.DirFS(d.template)); err != nil {
		d.Fatal(err)
	}
	return unmount
}

// disk mounts an empty disk of its own at dir until the test ends, or is told to. Where
// that is not permitted unmount is nil.
func (r *rig) disk(dir string, bytes int) (unmount func()) {
	r.Helper()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil {
		r.Fatal(err)
	}
	unmount = sync.OnceFunc(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(unmount)
	return unmount
}

// fill takes all the room there is on the disk at dir, until it is freed.
func (r *rig) fill(dir string) (free func()) {
	r.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		err = nil
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			r.Fatal(err)
		}
	}
}

// flushed is how a flush went.
type flushed struct {
	took   time.Duration
	failed string // all that it said; empty: it did not
}

// flush flushes a new disk while something is done to it, and again when there is room,
// and fails the test unless all is in a new bucket then.
func (d *smallDisk) flush(meanwhile func(flush *Unit) (free func())) (f flushed) {
	d.Helper()
	defer d.mount()()
	d.runs++
	pair, bucket := d.Pairs[0], d.beside(fmt.Sprint("bucket-", d.runs))
	if err := pair.WriteFile("ringside.yml", d.config); err != nil {
		d.Fatal(err)
	}
	d.uploadsTo(pair, fmt.Sprintf("type: FILESYSTEM\nconfig: {directory: %q}\n", bucket))
	flush := &Unit{Name: "flush", driver: NewProcesses(), Command: Command{
		Path: os.Getenv("RINGSIDE"), Args: []string{"flush", "--config.file=ringside.yml"}, Dir: pair.Dir, Log: bucket + ".log",
	}}
	d.Cleanup(flush.Kill)
	began := time.Now()
	if err := flush.Start(); err != nil {
		d.Fatal(err)
	}
	if meanwhile != nil {
		free := meanwhile(flush)
		d.await(30*time.Second, "ended, or waiting", func() error {
			text, err := os.ReadFile(flush.Command.Log)
			if err == nil && flush.Running() && !strings.Contains(string(text), failed) {
				err = errors.New("it runs")
			}
			return err
		})
		d.untouched()
		free()
	}
	ctx, cancel := context.WithTimeoutCause(d.Context(), time.Minute, errors.New("a minute is over"))
	defer cancel()
	if err := flush.Wait(ctx); err != nil {
		text, _ := os.ReadFile(flush.Command.Log)
		f.failed = fmt.Sprintf("%v: %s", err, text)
		d.complete("flush-again", pair.Dir, os.Getenv("RINGSIDE"), "flush", "--config.file=ringside.yml")
	}
	f.took = time.Since(began)
	d.all(bucket)
	return f
}

// untouched fails the test unless all that Prometheus has left is as it was.
func (d *smallDisk) untouched() {
	d.Helper()
	err := filepath.WalkDir(d.template, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, d.template)
		was, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		is, err := os.ReadFile(filepath.Join(d.data, name))
		if err == nil && !bytes.Equal(is, was) {
			err = fmt.Errorf("%s is not what it was", name)
		}
		return err
	})
	if err != nil {
		d.Error(err)
	}
}

// all fails the test unless the bucket is sound and has as many samples as there are.
func (d *smallDisk) all(bucket string) {
	d.Helper()
	d.complete("ringside-verify", d.Pairs[0].Dir, os.Getenv("RINGSIDE"), "bucket", "verify", "--hashes", "--config.file=ringside.yml")
	metas, err := filepath.Glob(filepath.Join(bucket, "*", "meta.json"))
	if err != nil {
		d.Fatal(err)
	}
	samples := 0
	for _, path := range metas {
		var m uploaded
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			d.Fatal(err)
		}
		samples += m.Stats.NumSamples
	}
	if samples != d.samples {
		d.Errorf("%d samples are in the bucket, there are %d", samples, d.samples)
	}
}
