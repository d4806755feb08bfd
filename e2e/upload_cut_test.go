package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"
)

// failed is what the uploader logs of a request that did not succeed.
const failed = `msg="failed, to be tried again"`

// Connections to the bucket are cut after so many bytes, from the first byte to the
// last that an upload takes, in steps smaller than any request or answer: each is cut.
// A client of its own sees whole blocks only, at any time, and either the same process
// or, after a kill -9, the next one finishes.
func TestUploadCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		stream string // which way the bytes are counted
		series int    // each with 1000 samples
		step   int
	}{
		{"upstream", 2, 400},
		{"downstream", 2, 150},
		{"upstream", 600, 300 << 10}, // in several parts
	} {
		t.Run(fmt.Sprintf("%s/%d", tc.stream, tc.series), func(t *testing.T) {
			t.Parallel()
			c := newCutting(t, tc.series)
			seed := uint64(time.Now().UnixNano())
			random := rand.New(rand.NewPCG(seed, 0))
			cuts := 0
			for c.cut(tc.stream, cuts*tc.step+random.IntN(tc.step/4), cuts) {
				cuts++
			}
			if cuts < 10 {
				t.Errorf("%d attempts were cut: the steps are too large", cuts)
			}
			c.measured("%d uploads were cut, one about every %d bytes, seed %d; all were finished, of what was visible in %d looks all was whole", cuts, tc.step, seed, c.looks)
		})
	}
}

// cutting is a data directory that is uploaded again and again through a link.
type cutting struct {
	*rig
	link   *link
	bucket objstore.Bucket // as it is behind the link
	config string          // ringside.yml without the bucket
	blocks string          // the directory of the blocks to upload
	want   []string        // their names
	looks  int
}

func newCutting(t *testing.T, series int) *cutting {
	t.Helper()
	c := &cutting{rig: newRig(t, setup{pairs: 1, targets: 1, replicas: 1, source: uploadSource()})}
	server := c.s3Server()
	c.link, c.bucket = c.through(server.address), server.direct(c.rig)
	c.blocks = c.beside("made")
	for i := range 2 {
		c.want = append(c.want, c.block(c.blocks, time.Now().Add(-time.Duration(10-2*i)*time.Hour), series))
	}
	slices.Sort(c.want)
	text, err := os.ReadFile(filepath.Join(c.Pairs[0].Dir, "ringside.yml"))
	if err != nil {
		t.Fatal(err)
	}
	c.config = string(text)
	return c
}

// block makes a block of so many series with 1000 samples each, of the two hours
// that from is in, and returns its name.
func (r *rig) block(dir string, from time.Time, series int) string {
	r.Helper()
	start := from.Truncate(2 * time.Hour).UnixMilli()
	random := rand.New(rand.NewPCG(uint64(start), 0))
	w, err := tsdb.NewBlockWriter(promslog.NewNopLogger(), dir, tsdb.DefaultBlockDuration)
	if err != nil {
		r.Fatal(err)
	}
	defer w.Close()
	app := w.Appender(r.Context())
	for i := range series {
		lset := labels.FromStrings("__name__", "made", "i", strconv.Itoa(i))
		for at := range int64(1000) {
			if _, err := app.Append(0, lset, start+7200*at, random.Float64()); err != nil {
				r.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		r.Fatal(err)
	}
	id, err := w.Flush(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return id.String()
}

// cut makes the n-th attempt, over connections that are cut after so many bytes, and then
// has the upload finished over whole ones. It tells whether any was cut.
func (c *cutting) cut(stream string, after, n int) bool {
	c.Helper()
	pair := c.Pairs[0]
	dir := fmt.Sprintf("%s-%d", stream, after)
	if err := errors.Join(
		os.RemoveAll(filepath.Join(pair.Dir, "data")), os.CopyFS(filepath.Join(pair.Dir, "data"), os.DirFS(c.blocks)),
		pair.WriteFile("ringside.yml", c.config),
	); err != nil {
		c.Fatal(err)
	}
	// The client itself is not to try again.
	c.uploadsTo(pair, s3Config(c.link.address, "max_retries: 1", "part_size: 5242880")+"prefix: "+dir+"\n")
	heal := c.link.add(stream, "limit_data", fmt.Sprintf(`{"bytes": %d}`, after))
	flush := &Unit{Name: "flush", driver: NewProcesses(), Command: Command{
		Path: os.Getenv("RINGSIDE"), Args: []string{"flush", "--config.file=ringside.yml"}, Dir: pair.Dir, Log: c.beside(dir + ".log"),
	}}
	c.Cleanup(flush.Kill)
	if err := flush.Start(); err != nil {
		c.Fatal(err)
	}
	logged := func() bool {
		text, err := os.ReadFile(flush.Command.Log)
		return err == nil && strings.Contains(string(text), failed)
	}
	c.await(30*time.Second, "cut or done", func() error {
		if ids := c.look(dir); flush.Running() && !logged() {
			return fmt.Errorf("%d blocks are visible", len(ids))
		}
		return nil
	})
	wasCut := logged()
	heal()
	if wasCut && n%8 > 0 { // an attempt of the same process has to wait for some seconds
		flush.Kill()
		c.look(dir)
		if err := flush.Start(); err != nil {
			c.Fatal(err)
		}
	}
	c.await(30*time.Second, "finished", func() error {
		c.look(dir)
		if flush.Running() {
			return errors.New("it runs")
		}
		return nil
	})
	if err := flush.Wait(c.Context()); err != nil {
		c.Errorf("cut %s after %d bytes: %v: %s", stream, after, err, flush.lastLine())
	}
	if got := c.look(dir); !slices.Equal(got, c.want) {
		c.Fatalf("cut %s after %d bytes: the bucket has blocks %q, not %q", stream, after, got, c.want)
	}
	return wasCut
}

// look returns the blocks that are visible in dir of the bucket now, and fails the
// test when one is not whole.
func (c *cutting) look(dir string) []string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	ids, err := visible(ctx, c.bucket, dir+"/")
	if err != nil {
		c.Fatal(err)
	}
	slices.Sort(ids)
	c.looks++
	return ids
}
