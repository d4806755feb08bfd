package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/scrape"
)

// shards stands in for scrape where options are reloaded.
type shards struct {
	mu       sync.Mutex
	err      error
	calls    int
	replicas int
}

func (s *shards) Reload(_ context.Context, sharding scrape.Sharding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err == nil {
		s.replicas = sharding.Replicas
	}
	return s.err
}

func (s *shards) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// told says how often options were reloaded, and the replicas last taken over.
func (s *shards) told() (calls, replicas int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.replicas
}

const ringsideYML = "cluster: {name: prod, node: a, listen_address: 127.0.0.1:7946}\n"

// reloading is a reloader of a file that the test writes.
type reloading struct {
	*reloader
	t      *testing.T
	target shards
	log    bytes.Buffer
}

func newReloading(t *testing.T) *reloading {
	t.Helper()
	r := &reloading{t: t}
	path := filepath.Join(t.TempDir(), "ringside.yml")
	if err := os.WriteFile(path, []byte(ringsideYML), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, false)
	if err != nil {
		t.Fatal(err)
	}
	r.reloader = newReloader(cfg, Options{ConfigFile: path}, &r.target, log.NewLogfmtLogger(&r.log))
	return r
}

func (r *reloading) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	r := newReloading(t)
	r.write(ringsideYML + "scrape: {replicas: 2}\n")
	if err := r.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, told := r.target.told(); told != 2 || r.status().inForce.Scrape.Replicas != 2 {
		t.Errorf("replicas %d in force, %d told; want 2", r.status().inForce.Scrape.Replicas, told)
	}

	r.write(ringsideYML + "scrape: {replicas: none}\n")
	if err := r.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "ringside.yml:2: scrape.replicas: ") {
		t.Errorf("%v; want the line", err)
	}
	calls, _ := r.target.told()
	if s := r.status(); s.inForce.Scrape.Replicas != 2 || s.err == nil || calls != 1 {
		t.Errorf("after a bad file: %d replicas in force, error %v, told %d times", s.inForce.Scrape.Replicas, s.err, calls)
	}

	r.write(ringsideYML)
	if err := r.reload(t.Context()); err != nil || r.status().err != nil {
		t.Errorf("a good file after a bad one: %v", err)
	}
}

func TestReloadNeedsRestart(t *testing.T) {
	r := newReloading(t)
	r.write(ringsideYML + "replica_label: other\nscrape: {replicas: 3}\n")
	for range 3 {
		if err := r.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := r.status()
	if strings.Join(s.needsRestart, " ") != "replica_label" || s.inForce.ReplicaLabel != "prometheus_replica" || s.inForce.Scrape.Replicas != 3 {
		t.Errorf("needs a restart: %v; in force: %s, %d replicas", s.needsRestart, s.inForce.ReplicaLabel, s.inForce.Scrape.Replicas)
	}
	if n := strings.Count(r.log.String(), "blocks=replica_label"); n != 1 {
		t.Errorf("logged %d times; want once:\n%s", n, r.log.String())
	}
}

// TestWatch has no events: whatever it sees, it sees by polling.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloading(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.watch(ctx, nil, nil)
		}()
		expect := func(what string, calls int) {
			t.Helper()
			time.Sleep(configPoll + time.Millisecond)
			synctest.Wait()
			if got, _ := r.target.told(); got != calls {
				t.Errorf("%s: reloaded %d times in all, want %d", what, got, calls)
			}
		}
		expect("nothing has changed", 0)
		r.write(ringsideYML + "scrape: {replicas: 2}\n")
		expect("changed", 1)
		expect("not changed again", 1)
		r.request()
		synctest.Wait()
		if calls, _ := r.target.told(); calls != 2 {
			t.Errorf("on request: reloaded %d times in all, want 2", calls)
		}

		// A good ringside.yml beside a bad source is tried again until the source is good.
		r.target.refuse(errors.New("prometheus.yml:1: bad"))
		r.write(ringsideYML + "scrape: {replicas: 3}\n")
		expect("the source is bad", 3)
		expect("and still", 4)
		r.target.refuse(nil)
		expect("the source is good", 5)
		expect("taken over", 5)
		if _, replicas := r.target.told(); replicas != 3 || r.status().err != nil {
			t.Errorf("%d replicas, error %v; want 3, none", replicas, r.status().err)
		}

		// A Kubernetes ConfigMap: the path becomes a link to another file.
		other := filepath.Join(t.TempDir(), "ringside.yml")
		if err := os.WriteFile(other, []byte(ringsideYML), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(other, r.path+"_tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.path+"_tmp", r.path); err != nil {
			t.Fatal(err)
		}
		expect("a link", 6)
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		expect("gone", 6)
		if !errors.Is(r.status().err, os.ErrNotExist) {
			t.Errorf("%v; want that the file does not exist", r.status().err)
		}
		cancel()
		<-ended
		if n := strings.Count(r.log.String(), "level=error"); n != 2 {
			t.Errorf("%d errors logged, want one of the source and one of the missing file:\n%s", n, r.log.String())
		}
	})
}
