package upstream

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/ringside-project/ringside/relay/wire"
)

// TestEarlyAnswer: an answer that comes before the body was read counts.
func TestEarlyAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ContentLength > 100<<10 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	random := rand.New(rand.NewPCG(1, 2))
	all := points(2000)
	for i := range all {
		for j := range 10 { // does not compress
			all[i].labels = append(all[i].labels, fmt.Sprint("l", j), fmt.Sprint(random.Uint64(), random.Uint64(), random.Uint64()))
		}
	}
	r := newRig(t, "endpoints: ["+server.URL+"]")
	r.want(t, r.deliver(t, wire.V1, all...), Result{Delivered: samples(2000), Status: 200})
}

// TestTLS: HTTP/1.1 unless asked otherwise, and the same outcome over HTTP/2,
// whose transport closes bodies while it reads them.
func TestTLS(t *testing.T) {
	var mu sync.Mutex
	protos := map[int]int{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		protos[req.ProtoMajor]++
		mu.Unlock()
		if req.ContentLength > 1000 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if _, err := decode(req); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for proto, http2 := range map[int]bool{1: false, 2: true} {
		r := newRig(t, fmt.Sprintf("endpoints: [%s]\nhttp_config: {tls_config: {ca_file: %s}, enable_http2: %v}", server.URL, ca, http2))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					r.want(t, r.deliver(t, wire.V1, points(500)...), Result{Delivered: samples(500), Status: 200})
				}
			})
		}
		wg.Wait()
		mu.Lock()
		if protos[proto] == 0 || len(protos) != 1 {
			t.Errorf("HTTP/2 %v: requests by protocol %v", http2, protos)
		}
		clear(protos)
		mu.Unlock()
		closeIdle(r.transport)
	}
}

// erratic is a receiver at its worst.
type erratic struct {
	mu    sync.Mutex
	taken map[string]bool
}

func (e *erratic) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	got, err := decode(req)
	if err != nil {
		return // cut off by the sender, or closed
	}
	take := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, s := range got.series {
			e.taken[s] = true
		}
	}
	switch rand.N(12) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1: // takes it, and nobody learns
		take()
		panic(http.ErrAbortHandler)
	case 2: // its words are cut
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "some of the")
		panic(http.ErrAbortHandler)
	case 3:
		take()
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	case 4, 5:
		statuses := []int{429, 503, 500, 302, 401, 415}
		w.WriteHeader(statuses[rand.N(len(statuses))])
	case 6:
		if len(got.series) > 1 {
			w.WriteHeader([]int{400, 409, 413}[rand.N(3)])
			return
		}
		fallthrough
	default:
		take()
		for name, value := range got.ok().header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusOK)
	}
}

// TestErraticReceivers: whatever they do, what is called delivered was taken,
// everything is accounted for, and nothing is left behind.
func TestErraticReceivers(t *testing.T) {
	receivers := map[string]*erratic{}
	text := "protobuf_message: prometheus.WriteRequest\nreplication_factor: 2\nendpoints:\n"
	for range 3 {
		e := &erratic{taken: map[string]bool{}}
		server := httptest.NewServer(e)
		defer server.Close()
		receivers[server.URL] = e
		text += "- " + server.URL + "\n"
	}
	r := newRig(t, text)
	var wg sync.WaitGroup
	for sender := range 8 {
		wg.Go(func() {
			for n := range 40 {
				var all []point
				for i := range 1 + rand.N(20) {
					all = append(all, point{labels: []string{"__name__", fmt.Sprintf("m%d", i), "n", fmt.Sprint(n), "sender", fmt.Sprint(sender)}})
				}
				for _, m := range r.placement.Load().members {
					m.breaker.leave(false, alive)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				res := r.Deliver(ctx, batch(t, r, wire.V1, all...))
				cancel()
				if sum := res.Delivered.Add(res.Rejected).Add(res.Failed); sum != samples(len(all)) {
					t.Errorf("%d series: %+v", len(all), res)
				}
				written := 0
				for _, ts := range requestV1(all).Timeseries {
					if anyHas(receivers, ts) {
						written++
					}
				}
				if written < res.Delivered.Samples || (res.Status == 200) != (res.Delivered == samples(len(all))) {
					t.Errorf("%d of %d series written: %+v", written, len(all), res)
				}
			}
		})
	}
	wg.Wait()
	for _, e := range r.Status().Endpoints {
		if e.InFlightBytes != 0 {
			t.Errorf("%d bytes in flight to %s for ever", e.InFlightBytes, e.URL)
		}
	}
}

func anyHas(receivers map[string]*erratic, ts prompb.TimeSeries) bool {
	name := fmt.Sprintf(`{__name__=%q, n=%q, prometheus_replica="a", sender=%q}`, ts.Labels[0].Value, ts.Labels[1].Value, ts.Labels[2].Value)
	for _, e := range receivers {
		e.mu.Lock()
		has := e.taken[name]
		e.mu.Unlock()
		if has {
			return true
		}
	}
	return false
}
