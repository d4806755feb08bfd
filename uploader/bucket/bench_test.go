package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/bucket"
	"github.com/ringside-project/ringside/uploader/ship"
)

const (
	filesAtOnce = 4 // as the uploader has it
	benchRounds = 3 // of which the median counts
)

// BenchmarkFilesystem compares the upload of a block to a FILESYSTEM bucket, which is on
// disk when it ends, with cp of the same files to the same file system, which leaves them
// in memory, and with cp that does not.
func BenchmarkFilesystem(b *testing.B) {
	p := newPayload(b)
	for _, other := range []struct{ name, script string }{
		{"cp", `cp -r "$0" "$1"`},
		{"cp-and-sync", `cp -r "$0" "$1" && find "$1" -type f -exec sync {} +`},
	} {
		b.Run(other.name, func(b *testing.B) {
			compare(b, p, other.name, func(to string) error {
				return p.upload(b, &bucket.Config{Type: "FILESYSTEM", Config: map[string]any{"directory": to}})
			}, func(to string) error {
				return exec.CommandContext(b.Context(), "sh", "-c", other.script, p.block.Dir, to).Run()
			})
		})
	}
}

// BenchmarkS3 compares the upload of a block to a real S3 server with the same files sent
// to it by minio-go, as many at once, each in as many parts at once.
func BenchmarkS3(b *testing.B) {
	c := realS3(b)
	p := newPayload(b)
	client, err := minio.New(c.Config["endpoint"].(string), &minio.Options{Creds: credentials.NewStaticV4(access, planted, ""), Region: "us-east-1"})
	if err != nil {
		b.Fatal(err)
	}
	prefixed := *c
	compare(b, p, "plain-client", func(to string) error {
		prefixed.Prefix = to
		return p.upload(b, &prefixed)
	}, func(to string) error { return p.send(b.Context(), client, to) })
}

// compare measures ours next to the other way of sending the payload, in turns. Each is
// told a place of its own for every round.
func compare(b *testing.B, p *payload, other string, ours, theirs func(to string) error) {
	for b.Loop() {
		var took [2][]time.Duration
		for round := range 1 + benchRounds {
			for turn := range took {
				i := (turn + round) % 2 // who is first changes
				place := filepath.Join(b.TempDir(), "to")
				start := time.Now()
				err := []func(string) error{ours, theirs}[i](place)
				if round > 0 { // the first is to warm up
					took[i] = append(took[i], time.Since(start))
				}
				if err := errors.Join(err, os.RemoveAll(place)); err != nil {
					b.Fatal(err)
				}
			}
		}
		rate := func(i int) float64 {
			slices.Sort(took[i])
			return float64(p.bytes) / took[i][benchRounds/2].Seconds() / 1e6
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(rate(0), "MB/s")
		b.ReportMetric(rate(1), other+"-MB/s")
		b.ReportMetric(100*rate(0)/rate(1), "%-of-"+other)
	}
}

// payload is a block, of whose files only the sizes matter.
type payload struct {
	block *block.Block
	files []string
	bytes int64
}

func newPayload(b *testing.B) *payload {
	b.Helper()
	p := &payload{block: &block.Block{Dir: b.TempDir()}}
	p.block.Meta.BlockMeta = tsdb.BlockMeta{Version: 1, ULID: ulid.MustNew(1, bytes.NewReader(make([]byte, 16))), MaxTime: 1}
	random := rand.NewChaCha8([32]byte{})
	for name, size := range map[string]int64{"chunks/000001": 128 << 20, "chunks/000002": 128 << 20, "index": 64 << 20} {
		file := filepath.Join(p.block.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(file)
		if err == nil {
			_, err = io.CopyN(f, random, size)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			b.Fatal(err)
		}
		p.files = append(p.files, name)
		p.bytes += size
	}
	return p
}

// upload is what the uploader does: it carries all there, and takes the hashes meanwhile.
func (p *payload) upload(b *testing.B, c *bucket.Config) error {
	bkt, err := bucket.Open(c, log.NewNopLogger())
	if err != nil {
		return err
	}
	defer bkt.Close()
	meta, err := block.Describe(p.block, nil)
	if err != nil {
		return err
	}
	return ship.New(bkt, filesAtOnce).Upload(b.Context(), p.block.Dir, meta, func(int64) {})
}

// send is what a client that does nothing else would do.
func (p *payload) send(ctx context.Context, client *minio.Client, to string) error {
	var sending sync.WaitGroup
	failed := make([]error, len(p.files))
	for i, name := range p.files {
		sending.Go(func() {
			_, failed[i] = client.FPutObject(ctx, "blocks", path.Join(to, name), filepath.Join(p.block.Dir, name),
				minio.PutObjectOptions{NumThreads: 4, PartSize: 64 << 20})
		})
	}
	sending.Wait()
	return errors.Join(failed...)
}
