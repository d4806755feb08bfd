package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thanos-io/objstore"
)

// outage is how long the bucket is down at least. RINGSIDE_OUTAGE=5m makes it longer;
// then the pause between two attempts is longer, too.
const outage = 3 * time.Second

// The bucket is out of reach, takes the credentials no more, answers that it is broken,
// and is slow, one after the other. Meanwhile there are new blocks. Status and metrics
// say what is wrong, nothing is taken away, and in the end all blocks are up.
func TestUploadOutage(t *testing.T) {
	t.Parallel()
	down := outage
	if text := os.Getenv("RINGSIDE_OUTAGE"); text != "" {
		var err error
		if down, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	o := newOutages(t)
	if err := os.Mkdir(filepath.Join(o.pair.Dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	o.add() // Prometheus tells of it at once, and so nobody waits for it to tell of those that follow
	o.up(o.pair)
	o.drained("up", 30*time.Second)

	o.during("down", down, `connection refused`, func() (end func()) {
		o.link.down()
		return o.link.up
	})
	o.during("with credentials revoked", 0, `Access Denied|signature`, func() (end func()) {
		o.restart("another-secret")
		return func() { o.restart(s3Secret) }
	})
	o.during("broken", 0, `500 Internal Server Error`, func() (end func()) {
		o.answer.Store(http.StatusInternalServerError)
		return func() { o.answer.Store(0) }
	})
	o.slow()
	for _, path := range []string{o.pair.Sidecar.Command.Log, o.pair.Prometheus.Command.Log} {
		if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), s3Secret) {
			t.Errorf("%s shows the bucket's secret, or: %v", path, err)
		}
	}
}

// outages is a pair that uploads to an S3 server behind a link and a gate.
type outages struct {
	*rig
	pair   *Pair
	server *s3Server
	answer atomic.Int64 // HTTP status that the gate answers everything with; 0: what the server does
	link   *link
	bucket objstore.Bucket
	ids    []string // all blocks so far
}

func newOutages(t *testing.T) *outages {
	t.Helper()
	o := &outages{rig: newRig(t, setup{pairs: 1, targets: 1, replicas: 1, source: uploadSource()})}
	o.pair, o.server = o.Pairs[0], o.s3Server()
	o.bucket = o.server.direct(o.rig)
	gate := httptest.NewServer(o.gate())
	t.Cleanup(gate.Close)
	o.link = o.through(gate.Listener.Addr().String())
	// Else the client itself tries each request ten times, for half a minute.
	o.uploadsTo(o.pair, s3Config(o.link.address, "max_retries: 2"))
	return o
}

// gate passes requests on to the server, unless it is told what to answer.
func (o *outages) gate() http.Handler {
	proxy := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: o.server.address})
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := o.answer.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// restart gives the server a secret.
func (o *outages) restart(secret string) {
	o.Helper()
	o.server.Kill()
	o.server.takes(o.rig, secret)
	o.launch(o.server.Unit)
}

// during breaks the bucket, has the pair find a block, waits until it says why the block
// is not up, and that it goes up once the outage, which lasts so long at least, is over.
func (o *outages) during(what string, lasts time.Duration, reason string, start func() (end func())) {
	o.Helper()
	why := regexp.MustCompile(reason)
	end, began := start(), time.Now()
	id := o.add()
	o.await(40*time.Second, "seen to be "+what, func() error {
		st, err := o.pair.uploads(o.Context())
		if err != nil {
			return err
		}
		b := st.block(id)
		switch {
		case st.Bucket.Reachable || !why.MatchString(st.Bucket.Error):
			return fmt.Errorf("bucket: %+v", st.Bucket)
		case b.State == "uploaded" || !why.MatchString(b.Reason):
			return fmt.Errorf("block: %+v", b)
		case st.LagSeconds == 0:
			return errors.New("nothing lags")
		}
		return o.metrics(func(reachable, lag float64) bool { return reachable == 0 && lag > 0 })
	})
	for range 2 {
		o.add()
	}
	o.watch(time.Until(began.Add(lasts)))
	before := o.files()
	end()
	took := o.drained(what, time.Minute+2*lasts)
	if after := o.files(); !slices.Equal(before, after) {
		o.Errorf("%s: of Prometheus's blocks there were %q, there are %q", what, before, after)
	}
	o.measured("%s for %s, the 3 blocks made meanwhile were up %s after it", what, since(began)-took.Round(10*time.Millisecond), took.Round(10*time.Millisecond))
}

// slow has blocks go over a link with a latency and little bandwidth.
func (o *outages) slow() {
	o.Helper()
	var heal []func()
	for _, stream := range []string{"upstream", "downstream"} {
		heal = append(heal, o.link.add(stream, "latency", `{"latency": 100, "jitter": 50}`), o.link.add(stream, "bandwidth", `{"rate": 100}`))
	}
	for range 2 {
		o.add()
	}
	took := o.drained("slow", time.Minute)
	for _, h := range heal {
		h()
	}
	o.measured("over a link with 200 ms of latency and 100 KB/s, 2 blocks were up after %s", took.Round(10*time.Millisecond))
}

// add gives Prometheus's data directory a block, whole at once, as Prometheus does.
// There is room for twelve, between what retention removes and the head.
func (o *outages) add() (id string) {
	o.Helper()
	made := o.beside("made")
	id = o.block(made, o.started.Add(-time.Duration(26-2*len(o.ids))*time.Hour), 20)
	if err := os.Rename(filepath.Join(made, id), filepath.Join(o.pair.Dir, "data", id)); err != nil {
		o.Fatal(err)
	}
	o.ids = append(o.ids, id)
	return id
}

// files are the blocks in Prometheus's data directory with the sizes of their files.
func (o *outages) files() []string {
	o.Helper()
	var files []string
	for _, pattern := range []string{"*", "chunks/*"} {
		found, err := filepath.Glob(filepath.Join(o.pair.Dir, "data", "01*", pattern))
		if err != nil {
			o.Fatal(err)
		}
		for _, path := range found {
			info, err := os.Stat(path)
			if err != nil {
				o.Fatal(err)
			}
			files = append(files, fmt.Sprintf("%s %d", path, info.Size()))
		}
	}
	return files
}

// drained waits until the bucket has all blocks, each once and whole, and the pair says
// so, and returns how long that took.
func (o *outages) drained(what string, within time.Duration) time.Duration {
	o.Helper()
	return o.await(within, "drained after "+what, func() error {
		ids, err := visible(o.Context(), o.bucket, "")
		if err != nil {
			return err
		}
		if slices.Sort(ids); !slices.Equal(ids, slices.Sorted(slices.Values(o.ids))) {
			return fmt.Errorf("the bucket has %d of %d blocks", len(ids), len(o.ids))
		}
		st, err := o.pair.uploads(o.Context())
		if err != nil {
			return err
		}
		for _, b := range st.Blocks {
			if b.State != "uploaded" {
				return fmt.Errorf("block: %+v", b)
			}
		}
		if !st.Bucket.Reachable || st.Bucket.Error != "" {
			return fmt.Errorf("bucket: %+v", st.Bucket)
		}
		return o.metrics(func(reachable, lag float64) bool { return reachable == 1 && lag == 0 })
	})
}

// metrics returns an error unless the pair's metrics of the bucket are right.
func (o *outages) metrics(right func(reachable, lag float64) bool) error {
	reachable, err := o.pair.Metric(o.Context(), "ringside_upload_bucket_reachable")
	if err != nil {
		return err
	}
	lag, err := o.pair.Metric(o.Context(), "ringside_upload_lag_seconds")
	if err == nil && !right(reachable, lag) {
		err = fmt.Errorf("ringside_upload_bucket_reachable is %v, ringside_upload_lag_seconds is %v", reachable, lag)
	}
	return err
}

// uploadsStatus is what a sidecar answers at /api/v1/status/uploads, as far as it is
// looked at.
type uploadsStatus struct {
	Bucket struct {
		Reachable bool
		Error     string
	}
	LagSeconds float64 `json:"lag_seconds"`
	Flush      struct {
		State, Error string
		Samples      int
	}
	Blocks []blockStatus
}

type blockStatus struct {
	ULID, State, Reason string
	Attempts            int
}

// block is the status of a block; a zero one when it is not known.
func (s uploadsStatus) block(id string) blockStatus {
	for _, b := range s.Blocks {
		if b.ULID == id {
			return b
		}
	}
	return blockStatus{}
}

func (p *Pair) uploads(ctx context.Context) (uploadsStatus, error) {
	var st uploadsStatus
	err := p.api(ctx, "/api/v1/status/uploads", &st)
	return st, err
}
