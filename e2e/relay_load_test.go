package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// writer is one shard of a sender: one connection, kept alive.
type writer struct {
	url, version string
	client       *http.Client
}

func newWriters(n int, url, version string) []*writer {
	writers := make([]*writer, n)
	for i := range writers {
		transport := &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}
		writers[i] = &writer{url: url, version: version, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	}
	return writers
}

func closeWriters(writers []*writer) {
	for _, w := range writers {
		w.client.CloseIdleConnections()
	}
}

// post sends a compressed body; any answer but a 2xx is an error.
func (w *writer) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf;proto="+messages[w.version])
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", map[string]string{"1.0": "0.1.0", "2.0": "2.0.0"}[w.version])
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // what there is of it
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}

// prebuilt returns compressed requests of batchSamples series, each for other
// targets, and the size of one that is not compressed.
func prebuilt(version string) (bodies [][]byte, plainSize int) {
	for i := range 8 {
		plain := body(version, scrapedPoints(i*batchSamples, batchSamples, 1_790_000_000_000))
		plainSize = len(plain)
		bodies = append(bodies, compressed(plain))
	}
	return bodies, plainSize
}

// saturate has all writers send as fast as they are answered for d, and
// returns how many samples were acknowledged.
func saturate(writers []*writer, bodies [][]byte, d time.Duration) (samples int64, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i, w := range writers {
		wg.Go(func() {
			for n := i; time.Now().Before(end) && ctx.Err() == nil; n++ {
				if err := w.post(ctx, bodies[n%len(bodies)]); err != nil {
					cancel(err)
					return
				}
				acknowledged.Add(batchSamples)
			}
		})
	}
	wg.Wait()
	return acknowledged.Load(), context.Cause(ctx)
}

// offer sends requests at a steady rate for d, whether or not earlier ones have
// been answered, and returns how long each took: from when it was due and this
// program ready to send it, so that a wait for one of the writers counts.
func offer(writers []*writer, bodies [][]byte, every, d time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	n := int(d / every)
	took := make([]time.Duration, n)
	type request struct {
		n   int
		due time.Time
	}
	queue := make(chan request, n)
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for r := range queue {
				if err := w.post(ctx, bodies[r.n%len(bodies)]); err != nil {
					cancel(err)
					return
				}
				took[r.n] = time.Since(r.due)
			}
		})
	}
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * every)))
		queue <- request{i, time.Now()}
	}
	close(queue)
	wg.Wait()
	return took, context.Cause(ctx)
}
