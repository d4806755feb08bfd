package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A sender writes as Prometheus does, and knows which samples have been
// acknowledged: each of its shards sends one request at a time, and the same
// again until it is told that it is written.
type sender struct {
	url    string
	ctx    context.Context // of the test: at its end nothing is sent again
	end    context.CancelFunc
	shards sync.WaitGroup

	mu           sync.Mutex
	acknowledged stored        // of sentMetric, by series without the replica label
	last         time.Time     // of an acknowledgement
	longest      time.Duration // that a request took to be acknowledged, with all attempts
	refused      error         // an answer after which Prometheus gives up
}

const (
	sentMetric = "sent"
	sentShards = 4
	sentSeries = 50 // of a shard, each with one sample in a request: two would be out of order if sent again
	sentEvery  = 200 * time.Millisecond
)

// send starts a sender to url. Its shards take turns with the versions of
// remote_write.
func (r *rig) send(url string, versions ...string) *sender {
	ctx, end := context.WithCancel(r.Context())
	s := &sender{url: url, ctx: r.Context(), end: end, acknowledged: stored{}}
	for shard := range sentShards {
		s.shards.Go(func() { s.shard(ctx, shard, versions[shard%len(versions)]) })
	}
	r.Cleanup(s.shards.Wait)
	return s
}

// stop ends sending once all that has been sent is acknowledged. It returns what
// that is.
func (s *sender) stop() (stored, error) {
	s.end()
	s.shards.Wait()
	return s.acknowledged, s.refused
}

// progress returns when something was acknowledged last, and the longest time
// that a request has taken until then.
func (s *sender) progress() (last time.Time, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.longest
}

func (s *sender) shard(ctx context.Context, shard int, version string) {
	ticker := time.NewTicker(sentEvery)
	defer ticker.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		var points []point
		for id := range sentSeries {
			points = append(points, point{
				labels:    []label{{"__name__", sentMetric}, {"id", strconv.Itoa(id)}, {"shard", strconv.Itoa(shard)}},
				value:     float64(n) + float64(id)/8,
				timestamp: time.Now().UnixMilli(),
			})
		}
		if !s.deliver(version, points) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// deliver sends points until they are acknowledged, or refused.
func (s *sender) deliver(version string, points []point) bool {
	text, began := compressed(body(version, points)), time.Now()
	for s.ctx.Err() == nil {
		status, err := post(s.url, version, "", text)
		switch {
		case err == nil && status/100 == 2:
			s.acknowledge(points, began)
			return true
		case err == nil && status/100 == 4 && status != http.StatusTooManyRequests:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refused = errors.Join(s.refused, fmt.Errorf("status %d", status))
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

func (s *sender) acknowledge(points []point, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
	s.longest = max(s.longest, s.last.Sub(began))
	for _, p := range points {
		lset := map[string]string{}
		for _, l := range p.labels {
			lset[l.name] = l.value
		}
		name := fmt.Sprintf("%q", lset)
		if s.acknowledged[name] == nil {
			s.acknowledged[name] = map[int64]string{}
		}
		s.acknowledged[name][p.timestamp] = floatBits(p.value)
	}
}

// post sends a compressed body, for a tenant unless that is "", and returns the
// status of the answer.
func post(url, version, tenant string, body []byte) (int, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf;proto="+messages[version])
	req.Header.Set("Content-Encoding", "snappy")
	if tenant != "" {
		req.Header.Set("THANOS-TENANT", tenant)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
