package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// enough is how many samples a Prometheus has before its head is flushed.
const enough = 20_000

// Both programs of a pair are told to end at once, under load: what Prometheus has
// committed is in the bucket, by a copy from before the sidecar has done anything.
func TestUploadFilesystem(t *testing.T) {
	t.Parallel()
	uploadsAtTheEnd(t, (*rig).filesystem)
}

func TestUploadS3(t *testing.T) {
	t.Parallel()
	uploadsAtTheEnd(t, (*rig).s3)
}

func uploadsAtTheEnd(t *testing.T, bucket func(*rig) string) {
	u := newUploading(t, 1, bucket)
	pair := u.Pairs[0]
	// The sidecar stands still, and does not take the feedback.
	pair.Prometheus.Command.Args = append(pair.Prometheus.Command.Args, "--storage.remote.flush-deadline=1s")
	u.up(pair)
	u.disordered(pair)
	before := u.loaded(pair, enough)
	witness, took := u.endWitnessed(pair)
	left, raw := u.left(pair, witness)
	u.kept(before, left)
	blocks := u.holds(left, raw.count())
	u.compacts()
	u.measured("all %d samples of %d series are there, once, in %d blocks, %d of them committed a moment before the signal; the sidecar was gone %s after Prometheus",
		raw.count(), len(left), blocks, before.count(), took.Round(10*time.Millisecond))
}

// A receiver of the user's own is down: Prometheus, told to end, waits for it for as
// long as its flush deadline says, and for longer than shutdown_wait. Its head is in
// the bucket all the same.
func TestUploadDeadRemote(t *testing.T) {
	t.Parallel()
	u := newUploading(t, 1, (*rig).filesystem)
	pair := u.Pairs[0]
	source, err := os.ReadFile(pair.source)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.WriteFile("prometheus.yml", string(source)+"remote_write: [{url: 'http://127.0.0.1:1/'}]\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(pair.Dir, "ringside.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.WriteFile("ringside.yml", strings.Replace(string(text), "uploader:\n", "uploader:\n  shutdown_wait: 2s\n", 1)); err != nil {
		t.Fatal(err)
	}
	const deadline = 8 * time.Second
	pair.Prometheus.Command.Args = append(pair.Prometheus.Command.Args, "--storage.remote.flush-deadline="+deadline.String())
	u.up(pair)
	before := u.loaded(pair, enough/4)
	if took := u.end(pair); took < deadline {
		t.Errorf("Prometheus has gone after %s, and cannot have waited for its receiver", took)
	}
	left, raw := u.left(pair, pair.Dir)
	u.kept(before, left)
	u.holds(left, raw.count())
}

// Both programs of a pair are killed under load. By hand its head goes to the
// bucket, with all that Prometheus itself finds in a copy of the directory.
func TestUploadAfterKill(t *testing.T) {
	for name, bucket := range map[string]func(*rig) string{"FILESYSTEM": (*rig).filesystem, "S3": (*rig).s3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUploading(t, 1, bucket)
			pair := u.Pairs[0]
			u.up(pair)
			u.disordered(pair)
			before := u.loaded(pair, enough)
			pair.Kill()
			twin := u.beside("copy")
			if err := os.CopyFS(filepath.Join(twin, "data"), os.DirFS(filepath.Join(pair.Dir, "data"))); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			said := u.complete("flush", pair.Dir, os.Getenv("RINGSIDE"), "flush", "--config.file=ringside.yml")
			took := since(began)
			left, raw := u.left(pair, twin)
			u.kept(before, left)
			blocks := u.holds(left, raw.count())
			u.complete("flush-again", pair.Dir, os.Getenv("RINGSIDE"), "flush", "--config.file=ringside.yml")
			if again := u.sound(); len(again) != blocks {
				t.Errorf("a second flush leaves %d blocks of %d", len(again), blocks)
			}
			u.compacts()
			lines := strings.Split(strings.TrimSpace(said), "\n")
			u.measured("all %d samples of %d series are there, once, in %d blocks, flushed in %s; it said: %s", raw.count(), len(left), blocks, took, lines[len(lines)-1])
		})
	}
}

// Targets move between three members, of which two end and come back, one to what it
// has and one to an empty disk, and end again with the third. For Thanos the replicas
// are one.
func TestUploadFleet(t *testing.T) {
	t.Parallel()
	u := newUploading(t, 3, (*rig).s3)
	u.up(u.Pairs...)
	u.disordered(u.Pairs...)
	keeper, stateless := u.Pairs[1], u.Pairs[2]
	before := u.loaded(keeper, enough/20)
	kept := before.count()
	before.add(u.loaded(stateless, enough/20))
	u.end(keeper, stateless)
	all, raw := u.left(stateless, stateless.Dir)
	samples := raw.count()
	if err := os.RemoveAll(filepath.Join(stateless.Dir, "data")); err != nil {
		t.Fatal(err)
	}
	u.settle(20*time.Second, u.running()...)
	u.up(keeper)
	u.disordered(keeper)
	// Whoever has nothing left of a time that is up can add nothing to it.
	u.late.over.Store(true)
	u.up(stateless)
	u.loaded(keeper, kept+enough/20)
	u.loaded(stateless, enough/20)
	took := u.end(u.Pairs...)
	for _, p := range u.Pairs {
		left, leftRaw := u.left(p, p.Dir)
		all.add(left)
		raw.add(leftRaw)
		samples += leftRaw.count()
	}
	u.kept(before, all)
	u.compacts() // what came late to a time that was up has replaced blocks: they are marked for deletion
	blocks := u.holds(all, samples)
	one := u.held("--query.replica-label="+replicaLabel, "--deduplication.func=chain")
	u.same(u.asOne(all, raw, one), one)
	u.measured("all %d samples that three members had are there, in %d blocks, and %d when replicas are one; all were gone %s after the signal",
		samples, blocks, one.count(), took.Round(10*time.Millisecond))
}

// asOne returns all without the replica label. Of what two members have stored for
// the same millisecond it has what like does, where a stale marker, which only raw
// has, is nothing.
func (u *uploading) asOne(all, raw, like stored) stored {
	one, marked := u.withoutReplica(all, like), u.withoutReplica(raw, nil)
	for series, samples := range one {
		for timestamp := range samples {
			if _, shown := like[series][timestamp]; !shown && isMarker(marked[series][timestamp]) {
				delete(samples, timestamp)
			}
		}
	}
	return one
}

// withoutReplica takes the replica label from the series. Of two samples of the same
// time it keeps the one that prefer has, or a stale marker.
func (u *uploading) withoutReplica(all, prefer stored) stored {
	one := stored{}
	for series, samples := range all {
		name := series
		for _, p := range u.Pairs { // it is never the first of the labels
			name = strings.Replace(name, fmt.Sprintf(" %q:%q", replicaLabel, p.Name), "", 1)
		}
		if one[name] == nil {
			one[name] = map[int64]string{}
		}
		for timestamp, v := range samples {
			if _, taken := one[name][timestamp]; !taken || isMarker(v) || v == prefer[name][timestamp] {
				one[name][timestamp] = v
			}
		}
	}
	return one
}

func isMarker(v string) bool { return strings.TrimPrefix(v, "histogram ") == stale }
