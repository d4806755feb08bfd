package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// uploadInterval is the scrape interval of what is uploaded.
	uploadInterval = 500 * time.Millisecond
	// lateBy is how old the oldest samples are that come out of order: they lie in
	// other blocks than the newest.
	lateBy = 3 * time.Hour
	// uploadLabel is the external label of the source.
	uploadLabel = "fleet"
)

// uploading is a fleet whose sidecars upload to a bucket. Its targets have every
// kind of sample, some of them out of order.
type uploading struct {
	*thanos
	late       *late
	bucketFile string // names the bucket as objstore reads it
	grpc       string // of the Store over the bucket
}

// newUploading makes a fleet of n pairs and starts nothing of it. bucket makes the
// bucket and returns its configuration.
func newUploading(t *testing.T, n int, bucket func(*rig) string) *uploading {
	t.Helper()
	needsThanos(t)
	e := newExporter(t)
	source := uploadSource()
	// So many that every member has some, but for one time in 10000.
	late, targets := newLate(t, 10*n)
	source += e.jobs(true) + fmt.Sprintf("  - job_name: late\n    static_configs: [{targets: ['%s']}]\n", strings.Join(targets, "', '"))
	source += fmt.Sprintf("storage: {tsdb: {out_of_order_time_window: %s}}\n", lateBy+time.Hour)
	r := newRig(t, setup{pairs: n, targets: 10 * n, replicas: 1, source: source})
	u := &uploading{thanos: &thanos{rig: r}, late: late}
	u.bucketFile = u.beside("bucket.yml")
	config := bucket(u.rig)
	if err := os.WriteFile(u.bucketFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range u.Pairs {
		u.uploadsTo(p, config)
	}
	return u
}

// uploadSource is fileSource with external labels, which uploads need.
func uploadSource() string {
	return strings.Replace(fileSource(uploadInterval), "global:\n", "global:\n  external_labels: {"+uploadLabel+": e2e}\n", 1)
}

// uploadsTo adds the bucket of a configuration to the pair's ringside.yml.
func (r *rig) uploadsTo(p *Pair, config string) {
	r.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, "ringside.yml"))
	if err != nil {
		r.Fatal(err)
	}
	block := "uploader:\n  bucket:\n    " + strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n    ") + "\n"
	if err := p.WriteFile("ringside.yml", string(text)+block); err != nil {
		r.Fatal(err)
	}
	p.Prometheus.Command.Args = append(p.Prometheus.Command.Args, "--storage.tsdb.delay-compact-file.path=data/thanos.shipper.json")
}

// filesystem returns the configuration of an empty bucket in a directory.
func (r *rig) filesystem() string {
	return fmt.Sprintf("type: FILESYSTEM\nconfig: {directory: %q}\n", r.beside("blocks"))
}

// late is a number of targets whose samples are older than what Prometheus has of
// them.
type late struct {
	start   time.Time
	scrapes []atomic.Int64 // by target
	over    atomic.Bool    // there are no samples any more
}

// newLate serves n targets until the test ends, and returns their addresses too.
func newLate(t *testing.T, n int) (*late, []string) {
	t.Helper()
	ln, err := listenLoopback()
	if err != nil {
		t.Fatal(err)
	}
	l := &late{start: time.Now(), scrapes: make([]atomic.Int64, n)}
	server := &http.Server{Handler: l}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	var targets []string
	for i := range n {
		targets = append(targets, fmt.Sprintf("127.8.0.%d:%d", 1+i, ln.Addr().(*net.TCPAddr).Port))
	}
	return l, targets
}

func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	if l.over.Load() {
		return
	}
	to := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).IP.To4()
	n := l.scrapes[to[3]-1].Add(1)
	for back := time.Duration(0); back <= lateBy; back += lateBy / 6 {
		at := l.start.Add(-back - time.Duration(n*7919%600)*time.Second/4) // no time twice in 600 scrapes
		fmt.Fprintf(w, "late{back=%q} %d %d\n", back, n, at.UnixMilli())
	}
}

// whole is the time of everything that has been scraped up to now.
func (u *uploading) whole() span {
	return span{u.started.Add(-lateBy - time.Hour).UnixMilli(), time.Now().UnixMilli()}
}

// query returns everything of a span that the Prometheus of a pair, or one in its
// place at url, answers with. It is labelled as it must be in the bucket.
func (u *uploading) query(url string, p *Pair, in span) (stored, error) {
	return queryAll(u.Context(), url, `{job!=""}`, in, func(lset map[string]string) {
		lset[uploadLabel], lset[replicaLabel] = "e2e", p.Name
	})
}

// loaded waits until the Prometheus of the pair holds n samples, and returns all
// that it holds.
func (u *uploading) loaded(p *Pair, n int) stored {
	u.Helper()
	var all stored
	u.await(30*time.Second, "under load", func() (err error) {
		if all, err = u.query(p.Prometheus.URL, p, u.whole()); err == nil && all.count() < n {
			err = fmt.Errorf("%s has %d samples", p.Name, all.count())
		}
		return err
	})
	return all
}

var tookLate = regexp.MustCompile(`(?m)^prometheus_tsdb_head_out_of_order_samples_appended_total\{type="float"\} [1-9]`)

// disordered waits until the Prometheus of each pair has taken samples out of order.
func (u *uploading) disordered(pairs ...*Pair) {
	u.Helper()
	for _, p := range pairs {
		u.await(30*time.Second, "out of order", func() error {
			body, err := fetch(u.Context(), p.client, p.Prometheus.URL+"/metrics")
			if err == nil && !tookLate.Match(body) {
				err = fmt.Errorf("%s has not taken any sample out of order", p.Name)
			}
			return err
		})
	}
}

// left serves dir, which has the data of a Prometheus of the pair that has ended,
// and returns all that it holds: as a query tells it, and with stale markers.
func (u *uploading) left(p *Pair, dir string) (all, raw stored) {
	u.Helper()
	alone := u.prometheus(dir, "global: {}\n")
	u.launch(alone)
	defer alone.Kill()
	all, err := u.query(alone.URL, p, u.whole())
	if err != nil {
		u.Fatal(err)
	}
	raw, err = readAll(u.Context(), alone.URL, u.whole(), map[string]string{uploadLabel: "e2e", replicaLabel: p.Name})
	if err != nil {
		u.Fatal(err)
	}
	return all, raw
}

// copied copies what the pair's Prometheus has left to a directory of its own.
func (u *uploading) copied(p *Pair, name string) (dir string) {
	u.Helper()
	dir = u.beside(name)
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(filepath.Join(p.Dir, "data"))); err != nil {
		u.Fatal(err)
	}
	return dir
}

// add adds the samples of other to s.
func (s stored) add(other stored) {
	for series, samples := range other {
		if s[series] == nil {
			s[series] = map[int64]string{}
		}
		maps.Copy(s[series], samples)
	}
}

// kept fails the test when something of before is not left.
func (u *uploading) kept(before, left stored) {
	u.Helper()
	if missing := before.without(left); len(missing) > 0 {
		u.Errorf("of %d samples that Prometheus had committed it has lost %s", before.count(), missing.example())
	}
}

// complete runs a program in a directory to its end, which must be good, and
// returns what it has printed and logged.
func (r *rig) complete(name, dir, path string, args ...string) string {
	r.Helper()
	c := &Unit{Name: name, driver: NewProcesses(), Command: Command{Path: path, Args: args, Dir: dir, Log: r.beside(name + ".log")}}
	r.Cleanup(c.Kill)
	if err := os.RemoveAll(c.Command.Log); err != nil { // of an earlier run
		r.Fatal(err)
	}
	if err := c.Start(); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), 40*time.Second, errors.New("40 seconds are over"))
	defer cancel()
	ended := c.Wait(ctx)
	text, err := os.ReadFile(c.Command.Log)
	if err := errors.Join(ended, err); err != nil {
		r.Fatalf("%v, after:\n%s", err, text)
	}
	return string(text)
}

// tool is complete for a command of Thanos over the bucket.
func (u *uploading) tool(name string, args ...string) string {
	u.Helper()
	args = append(args, "--objstore.config-file="+u.bucketFile)
	return u.complete(name, filepath.Dir(u.bucketFile), os.Getenv("THANOS"), args...)
}

// end sends SIGTERM to all programs of pairs at once, waits until they have ended
// well, and returns how long that took.
func (u *uploading) end(pairs ...*Pair) time.Duration {
	u.Helper()
	began := time.Now()
	var units []*Unit
	for _, p := range pairs {
		units = append(units, p.Sidecar, p.Prometheus)
	}
	u.tell(syscall.SIGTERM, units...)
	u.ended(units...)
	return time.Since(began)
}

// endWitnessed is end for one pair whose sidecar stands still until Prometheus has
// ended: it returns a copy of what that one has left, before anything was done to
// it, too.
func (u *uploading) endWitnessed(p *Pair) (dir string, took time.Duration) {
	u.Helper()
	u.tell(syscall.SIGTERM, p.Sidecar)
	u.tell(syscall.SIGSTOP, p.Sidecar)
	u.tell(syscall.SIGTERM, p.Prometheus)
	u.ended(p.Prometheus)
	dir = u.copied(p, "witness")
	began := time.Now()
	u.tell(syscall.SIGCONT, p.Sidecar)
	u.ended(p.Sidecar)
	return dir, time.Since(began)
}

// tell sends a signal to each of units.
func (u *uploading) tell(s syscall.Signal, units ...*Unit) {
	u.Helper()
	for _, unit := range units {
		if err := unit.Signal(s); err != nil {
			u.Fatal(err)
		}
	}
}

// ended waits until units have ended well.
func (u *uploading) ended(units ...*Unit) {
	u.Helper()
	ctx, cancel := context.WithTimeoutCause(u.Context(), 40*time.Second, errors.New("40 seconds are over"))
	defer cancel()
	for _, unit := range units {
		if err := unit.Wait(ctx); err != nil {
			u.Fatal(err)
		}
	}
}

// holds fails the test unless the bucket is sound, its blocks have as many samples
// as there are, none twice, and Thanos answers with exactly those of want. It
// returns the number of blocks.
func (u *uploading) holds(want stored, samples int) int {
	u.Helper()
	blocks := u.sound()
	in := 0
	for _, b := range blocks {
		in += b.Stats.NumSamples
	}
	if in != samples {
		u.Errorf("%d samples are in the %d blocks of the bucket, there are %d", in, len(blocks), samples)
	}
	ports, err := freePorts.take(2)
	if err != nil {
		u.Fatal(err)
	}
	u.grpc = fmt.Sprintf("127.0.0.1:%d", ports[1])
	u.launch(u.unit("store", fmt.Sprintf("127.0.0.1:%d", ports[0]), "store", "--grpc-address="+u.grpc, "--objstore.config-file="+u.bucketFile))
	u.same(want, u.held())
	return len(blocks)
}

// held returns what a Query over the Store answers, started with more arguments.
func (u *uploading) held(args ...string) stored {
	u.Helper()
	ports, err := freePorts.take(2)
	if err != nil {
		u.Fatal(err)
	}
	query := u.unit("query", fmt.Sprintf("127.0.0.1:%d", ports[0]),
		append([]string{"query", fmt.Sprintf("--grpc-address=127.0.0.1:%d", ports[1]), "--endpoint-strict=" + u.grpc}, args...)...)
	u.launch(query)
	defer query.Kill()
	all, err := queryAll(u.Context(), query.URL, `{job!=""}`, u.whole(), nil)
	if err != nil {
		u.Fatal(err)
	}
	return all
}

// same fails the test unless Thanos has got what there is.
func (u *uploading) same(want, got stored) {
	u.Helper()
	if missing, extra := want.without(got), got.without(want); len(want) == 0 || len(missing)+len(extra) > 0 {
		u.Errorf("of %d samples Thanos lacks %s; of its own it has %s", want.count(), missing.example(), extra.example())
	}
}

// uploaded is what a block's meta.json says, as far as it is looked at.
type uploaded struct {
	Stats struct{ NumSamples int }
}

// sound fails the test unless Thanos and Ringside find nothing wrong with the
// bucket. It returns the blocks in it, of which none overlap.
func (u *uploading) sound() []uploaded {
	u.Helper()
	if found := u.tool("verify", "tools", "bucket", "verify", "--log.level=warn"); found != "" {
		u.Errorf("thanos tools bucket verify:\n%s", found)
	}
	u.complete("ringside-verify", u.Pairs[0].Dir, os.Getenv("RINGSIDE"), "bucket", "verify", "--hashes", "--config.file=ringside.yml")
	var blocks []uploaded
	for list := json.NewDecoder(strings.NewReader(u.tool("ls", "tools", "bucket", "ls", "--output=json", "--exclude-delete", "--log.level=warn"))); list.More(); {
		var b uploaded
		if err := list.Decode(&b); err != nil {
			u.Fatalf("thanos tools bucket ls: %v", err)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// compacts fails the test unless a compactor without vertical compaction gets
// through.
func (u *uploading) compacts() {
	u.Helper()
	ports, err := freePorts.take(1)
	if err != nil {
		u.Fatal(err)
	}
	log := u.tool("compact", "compact", "--data-dir=compact", "--consistency-delay=0s", "--no-debug.halt-on-error", fmt.Sprintf("--http-address=127.0.0.1:%d", ports[0]))
	if strings.Contains(log, "level=error") || !strings.Contains(log, "compaction iterations done") {
		u.Errorf("thanos compact:\n%s", log)
	}
}
