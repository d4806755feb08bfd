package relay

import (
	"context"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
)

func newTestLane(limit int64) *lane {
	return &lane{limit: limit, wake: make(chan struct{}, 1), waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "waiting"})}
}

// What cannot fit pushes out nothing.
func TestLaneKeepsWhatItCan(t *testing.T) {
	l := newTestLane(1000)
	push := func(size int) int { return len(l.push(parcel{body: make([]byte, size)})) }
	for _, step := range []struct{ size, dropped, left int }{
		{600, 0, 1}, {1001, 1, 1}, {300, 0, 2}, {200, 1, 2}, {1000, 2, 1},
	} {
		if dropped := push(step.size); dropped != step.dropped || len(l.parcels) != step.left {
			t.Fatalf("push of %d: %d dropped, %d left; want %d, %d", step.size, dropped, len(l.parcels), step.dropped, step.left)
		}
	}
	p, _ := l.pop(context.Background())
	if dropped := push(1); dropped != 1 {
		t.Errorf("%d dropped beside one that takes all the room, want the new one", dropped)
	}
	l.done(p)
	if n := l.size(); n != 0 || l.parcels != nil {
		t.Errorf("an empty lane holds %d bytes, %d parcels", n, cap(l.parcels))
	}
}

// A parcel whose upstream has failed gets one more try when the relay stops.
func TestStopTriesOnceMore(t *testing.T) {
	best := newReceiver(t)
	tried := make(chan struct{}, 100)
	best.say(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "as told", http.StatusServiceUnavailable)
		tried <- struct{}{}
		return true
	})
	r := relayTo(t, Options{}, "upstreams: [{name: two, required: false, endpoints: [%s]}]", best.URL)
	one := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "up"}}, Samples: []prompb.Sample{{Timestamp: 1}}} // in one lane: the breaker stays closed
	if resp, text := r.post(typeV1, snappy(marshal(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{one}})), write); resp.StatusCode != 204 {
		t.Fatalf("got %s: %s", resp.Status, text)
	}
	<-tried
	best.say(nil)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if got, dropped := len(best.got()), sampleCount(t, r, "two", "dropped"); got != 1 || dropped != 0 {
		t.Errorf("%d samples are there and %d dropped, of 1", got, dropped)
	}
}

// That an upstream is configured to get nothing of a request is no loss.
func TestWrittenIsAllThatNoneRefused(t *testing.T) {
	up := newReceiver(t)
	r := relayTo(t, Options{}, "upstreams: [{name: one, endpoints: [%s], write_relabel_configs: [{action: drop, source_labels: [__name__], regex: .*}]}]", up.URL)
	if resp, text := r.post(typeV2, snappy(bodyV2()), write); resp.StatusCode != 204 || writtenHeaders(resp) != "7 2 1" {
		t.Errorf("got %s, %q written: %s", resp.Status, writtenHeaders(resp), text)
	}
}
