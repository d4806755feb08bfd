//go:build unix

package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
)

const seriesPerShard = 40

// shard sends as one of Prometheus's does: batch by batch, each until it is
// taken or refused for good, and always the same series.
type shard struct {
	*soak
	contentType string
	series      []soakSeries
	rng         *rand.Rand
	client      *http.Client
	number      int // of batches
}

func (s *soak) newShard(n int) *shard {
	sh := &shard{
		soak: s, contentType: typeV1,
		rng:    rand.New(rand.NewPCG(s.seed, uint64(1000+n))),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
	if n%2 == 1 {
		sh.contentType = typeV2
	}
	for i := range seriesPerShard {
		series := soakSeries{id: n*seriesPerShard + i}
		switch i {
		case 11:
			series.poison = poisonBad
		case 22:
			series.poison = poisonHuge
		case 33:
			series.poison = poisonOnce
		}
		sh.series = append(sh.series, series)
	}
	return sh
}

// next returns the next batch: some of the series, with some samples each. Few
// have any of the series that are refused.
func (sh *shard) next() soakBatch {
	sh.number++
	b := soakBatch{number: sh.number}
	poisoned := sh.rng.IntN(8) == 0
	for _, series := range sh.series {
		refused := series.poison == poisonBad || series.poison == poisonHuge
		if refused && !poisoned || sh.rng.IntN(4) == 0 {
			continue
		}
		b.parts = append(b.parts, soakPart{series, 1 + sh.rng.IntN(4)})
	}
	sh.rng.Shuffle(len(b.parts), func(i, j int) { b.parts[i], b.parts[j] = b.parts[j], b.parts[i] })
	return b
}

// run sends until the relay takes no more.
func (sh *shard) run() {
	defer sh.client.CloseIdleConnections()
	for {
		b := sh.next()
		status := sh.deliver(b)
		if status == 0 {
			return
		}
		sh.settled(b, status)
	}
}

// deliver sends b until the answer is final, and returns that; 0 when the relay
// has stopped. What Prometheus's shards wait in seconds is milliseconds here.
func (sh *shard) deliver(b soakBatch) (status int) {
	body := b.bodyV1()
	if sh.contentType == typeV2 {
		body = b.bodyV2()
	}
	body = s2.EncodeSnappy(nil, body)
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, 200*time.Millisecond) {
		resp, err := sh.post(body)
		switch {
		case err != nil && sh.stopping.Load():
			return 0
		case err != nil:
			sh.wrong("the relay left a sender without an answer: %v", err)
			return 0
		case resp.StatusCode/100 == 2:
			sh.checkWritten(b, resp)
			return resp.StatusCode
		case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests:
			return resp.StatusCode
		case resp.StatusCode/100 != 5 && resp.StatusCode != http.StatusTooManyRequests:
			sh.wrong("the relay answers %s", resp.Status)
			return 0
		}
		sh.retried.Add(1)
		time.Sleep(backoff)
	}
}

func (sh *shard) post(body []byte) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, sh.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", sh.contentType)
	req.Header.Set("Content-Encoding", "snappy")
	began := time.Now()
	resp, err := sh.client.Do(req)
	if err != nil {
		return nil, err
	}
	sh.answered(time.Since(began))
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		sh.said(resp.StatusCode, string(text))
	}
	return resp, err
}

func (s *soak) answered(after time.Duration) {
	if after > answerTimeout+2*time.Second {
		s.wrong("an answer took %s", after)
	}
	for old := s.slowest.Load(); int64(after) > old && !s.slowest.CompareAndSwap(old, int64(after)); old = s.slowest.Load() {
	}
}

// checkWritten looks at the headers of an answer that says all is written.
func (sh *shard) checkWritten(b soakBatch, resp *http.Response) {
	if sh.contentType != typeV2 {
		return
	}
	samples, histograms := 0, 0
	for _, p := range b.parts {
		if p.histograms() {
			histograms += p.samples
		} else {
			samples += p.samples
		}
	}
	want := fmt.Sprintf("%d %d 0", samples, histograms)
	if got := writtenHeaders(resp); got != want {
		sh.wrong("%s says that %s is written, not %s", resp.Status, got, want)
	}
}

// settled looks, at the very moment that a sender learns the fate of a batch,
// whether it is true: what is acknowledged has its quorum, and of a batch that
// is refused for some of its series the others have theirs.
func (s *soak) settled(b soakBatch, status int) {
	if refused := status/100 == 4; refused != b.poisoned() {
		s.wrong("batch %d is answered %d, that it has series which nobody takes is %t", b.number, status, b.poisoned())
		return
	}
	s.samples.Add(int64(b.samples()))
	for _, part := range b.parts {
		if part.poison == poisonBad || part.poison == poisonHuge {
			s.refused.Add(int64(part.samples))
			continue
		}
		for _, u := range s.upstreams {
			if u.required {
				s.checkCopies(u, b, part)
			}
		}
	}
}

func (s *soak) checkCopies(u *soakUpstream, b soakBatch, part soakPart) {
	whole, some := 0, 0
	var where []string
	for i, r := range u.receivers {
		isWhole, isSome := r.holds(b.number, part)
		if isWhole {
			whole++
		}
		if isSome {
			some++
			where = append(where, strconv.Itoa(i))
		}
	}
	if whole < u.quorum {
		s.wrong("series %d, batch %d, is acknowledged, but %s has %d copies, not %d", part.id, b.number, u.name, whole, u.quorum)
	}
	if some > u.copies {
		s.wrong("series %d of %s is at %d endpoints, not %d: %s", part.id, u.name, some, u.copies, strings.Join(where, ", "))
	}
}
