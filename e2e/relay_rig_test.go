package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// remoteName is how a source Prometheus names the relay in its metrics.
const remoteName = `{remote_name="ringside-relay"`

// relayTo has the sidecars of all pairs, which have not been started, relay to
// upstreams: entries of relay.upstreams.
func (r *rig) relayTo(upstreams string) {
	r.Helper()
	for _, p := range r.Pairs {
		text, err := os.ReadFile(filepath.Join(p.Dir, "ringside.yml"))
		if err != nil {
			r.Fatal(err)
		}
		block := "relay:\n  upstreams:\n    " + strings.ReplaceAll(strings.TrimSpace(upstreams), "\n", "\n    ") + "\n"
		if err := p.WriteFile("ringside.yml", strings.Replace(string(text), "relay:\n", block, 1)); err != nil {
			r.Fatal(err)
		}
	}
}

// storeExemplars has the Prometheus of all pairs, which have not been started,
// store exemplars.
func (r *rig) storeExemplars() {
	for _, p := range r.Pairs {
		p.Prometheus.Command.Args = append(p.Prometheus.Command.Args, "--enable-feature=exemplar-storage")
	}
}

// prometheus returns a Prometheus server of its own, in dir, that scrapes nothing
// and takes remote_write. It has not been started. A directory that has been a
// pair's is served with what the pair's Prometheus has left in it.
func (r *rig) prometheus(dir, config string) *Unit {
	r.Helper()
	ports, err := freePorts.take(1)
	if err != nil {
		r.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alone.yml"), []byte(config), 0o644); err != nil {
		r.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	u := &Unit{
		Name: filepath.Base(dir) + "/alone", URL: "http://" + address, driver: NewProcesses(),
		Command: Command{
			Path: os.Getenv("PROMETHEUS"), Dir: dir, Log: filepath.Join(dir, "alone.log"),
			Args: []string{
				"--config.file=alone.yml", "--web.listen-address=" + address, "--storage.tsdb.path=data",
				"--storage.tsdb.retention.time=1d", "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage",
			},
		},
	}
	r.Cleanup(func() {
		u.Kill()
		if r.Failed() {
			r.Logf("%s: %s", u.Name, u.lastLine())
		}
	})
	return u
}

// beside returns the path of a directory beside those of the pairs.
func (r *rig) beside(name string) string { return filepath.Join(filepath.Dir(r.Pairs[0].Dir), name) }

// launch starts a server that is ready on return.
func (r *rig) launch(u *Unit) {
	r.Helper()
	if err := u.Start(); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), 30*time.Second, errors.New("30 seconds are over"))
	defer cancel()
	if err := u.awaitReady(ctx, r.Pairs[0].client, "/-/ready"); err != nil {
		r.Fatal(err)
	}
}

// equal waits until the receiver holds exactly what the source does of the time
// up to now, of the sources' series, and returns that.
func (r *rig) equal(within time.Duration, source, receiver *Unit) stored {
	r.Helper()
	in := span{0, time.Now().UnixMilli()}
	var got stored
	checked := time.Time{}
	var last error
	r.await(within, "equal", func() error {
		if time.Since(checked) < 500*time.Millisecond {
			return last
		}
		got, last = r.compare(source, receiver, in)
		checked = time.Now()
		return last
	})
	return got
}

// compare returns what the source holds, or an error when the receiver does not
// hold exactly that.
func (r *rig) compare(source, receiver *Unit, in span) (stored, error) {
	replica := map[string]string{replicaLabel: r.Pairs[0].Name}
	want, err := readAll(r.Context(), source.URL, in, replica)
	if err != nil {
		return nil, err
	}
	got, err := readAll(r.Context(), receiver.URL, in, nil)
	if err != nil {
		return nil, err
	}
	missing, extra := want.without(got), got.without(want)
	if len(missing)+len(extra) > 0 {
		return nil, fmt.Errorf("of %d samples the receiver lacks %s; of its own it has %s", want.count(), missing.example(), extra.example())
	}
	return want, nil
}

// exemplarsArrive fails the test unless the receiver has every exemplar that the
// source holds, and there are some. Prometheus as a receiver takes them in
// remote_write 1.0 only: in 2.0 it refuses what its own sender makes of them, a
// series without samples.
func (r *rig) exemplarsArrive(source, receiver *Unit) int {
	r.Helper()
	in := span{r.started.UnixMilli(), time.Now().UnixMilli()}
	want, err := readExemplars(r.Context(), source.URL, in, map[string]string{replicaLabel: r.Pairs[0].Name})
	if err != nil {
		r.Fatal(err)
	}
	if len(want) == 0 {
		r.Error("the source has no exemplars")
	}
	r.await(20*time.Second, "equal in exemplars", func() error {
		got, err := readExemplars(r.Context(), receiver.URL, in, nil)
		if err != nil {
			return err
		}
		for e := range want {
			if !got[e] {
				return fmt.Errorf("of %d exemplars the receiver has %d, not %s", len(want), len(got), e)
			}
		}
		return nil
	})
	return len(want)
}
