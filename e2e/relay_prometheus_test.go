package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Prometheus writes through the relay to another one. Whatever it has committed
// is in that one too, bit for bit: after a while, after an outage of the receiver,
// and after an end of the pair under load.
func TestRelayToPrometheus(t *testing.T) {
	for _, version := range []string{"1.0", "2.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := newExporter(t)
			r := newRig(t, setup{pairs: 1, targets: 20, replicas: 1, source: fileSource(interval) + e.jobs(version == "2.0")})
			r.storeExemplars()
			receiver := r.prometheus(r.beside("receiver"), "global: {}\n")
			r.launch(receiver)
			r.relayTo(fmt.Sprintf("- name: receiver\n  endpoints: [%s/api/v1/write]\n  protobuf_message: %s", receiver.URL, messages[version]))
			pair := r.Pairs[0]
			r.up(pair)
			r.speaks(pair, version)

			r.watch(6 * interval)
			first := r.equal(20*time.Second, pair.Prometheus, receiver)
			r.event("%d samples of %d series are equal", first.count(), len(first))
			kinds(t, first, version)
			exemplars := 0
			if version == "1.0" {
				exemplars = r.exemplarsArrive(pair.Prometheus, receiver)
			}

			out := r.outage(receiver, 30*time.Second)
			second := r.equal(40*time.Second, pair.Prometheus, receiver)
			caughtUp := since(out)
			r.noneRefused(pair, version)

			last, took := r.endUnderLoad(pair, receiver)
			r.measured("%d samples of %d series and %d exemplars equal, bit for bit; after an outage of 30s %d, %s after its end; after SIGTERM to both at once, which took %s, %d",
				first.count(), len(first), exemplars, second.count(), caughtUp, took, last.count())
		})
	}
}

// outage kills the receiver, starts it again after d, and returns when that was.
func (r *rig) outage(receiver *Unit, d time.Duration) time.Time {
	r.Helper()
	receiver.Kill()
	r.event("killed %s", receiver.Name)
	r.watch(d)
	r.launch(receiver)
	r.event("%s is back", receiver.Name)
	return time.Now()
}

// endUnderLoad sends SIGTERM to both programs of the pair at once, then opens
// what its Prometheus has left, and compares all of it with what the receiver
// holds. It returns that, and how long the pair took to end.
func (r *rig) endUnderLoad(pair *Pair, receiver *Unit) (stored, time.Duration) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 90*time.Second)
	defer cancel()
	began := time.Now()
	if err := errors.Join(pair.Prometheus.Signal(syscall.SIGTERM), pair.Sidecar.Signal(syscall.SIGTERM)); err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(pair.Prometheus.Wait(ctx), pair.Sidecar.Wait(ctx)); err != nil {
		r.Error(err)
	}
	took := since(began)
	r.event("both have ended after %s", took)
	left := r.prometheus(pair.Dir, "global: {}\n")
	r.launch(left)
	all, err := r.compare(left, receiver, span{0, math.MaxInt64 / 2})
	if err != nil {
		r.Errorf("after the end of the pair at %d: %v", began.UnixMilli(), err)
	}
	return all, took
}

// speaks fails the test unless the Prometheus of the pair was told to write in
// the version, and the upstream is written to in it.
func (r *rig) speaks(pair *Pair, version string) {
	r.Helper()
	body, err := fetch(r.Context(), pair.client, pair.Prometheus.URL+"/api/v1/status/config")
	if err != nil {
		r.Fatal(err)
	}
	if told := strings.Contains(string(body), "protobuf_message: "+messages["2.0"]); told != (version == "2.0") {
		r.Errorf("that its Prometheus is told to write 2.0 is %t", told)
	}
	var status struct {
		Upstreams []struct{ Name, Sending string }
	}
	r.await(10*time.Second, "sending", func() error {
		if err := pair.api(r.Context(), "/api/v1/status/relay", &status); err != nil {
			return err
		}
		if len(status.Upstreams) != 1 || status.Upstreams[0].Sending != messages[version] {
			return fmt.Errorf("the status says %+v", status)
		}
		return nil
	})
}

// kinds fails the test when a kind of sample is missing.
func kinds(t *testing.T, s stored, version string) {
	t.Helper()
	want := []string{
		`"exporter.wide größe"`, `"straße 名":"\"\n\\é"`, `"prometheus_replica":"mine"`,
		`"exporter_bulk"`, `"exporter_native_seconds"`, `"le":"0.1"`, `"job":"farm"`,
	}
	values := []string{stale, floatBits(math.Inf(1)), floatBits(math.NaN()), "schema 3"}
	if version == "2.0" {
		values = append(values, "bounds [0.1 1 10]")
	}
	var text strings.Builder
	for series, samples := range s {
		fmt.Fprintln(&text, series)
		for _, v := range samples {
			fmt.Fprintln(&text, v)
		}
	}
	for _, what := range append(want, values...) {
		if !strings.Contains(text.String(), what) {
			t.Errorf("nothing among the samples has %s", what)
		}
	}
}

// noneRefused fails the test when the Prometheus of the pair counts samples that
// the relay would not take, but for exemplars in 2.0: see exemplarsArrive.
func (r *rig) noneRefused(pair *Pair, version string) {
	r.Helper()
	body, err := fetch(r.Context(), pair.client, pair.Prometheus.URL+"/metrics")
	if err != nil {
		r.Fatal(err)
	}
	sent := false
	for line := range strings.Lines(string(body)) {
		name, labels, _ := strings.Cut(line, "{")
		if !strings.HasPrefix("{"+labels, remoteName) {
			continue
		}
		sent = sent || strings.HasPrefix(name, "prometheus_remote_storage_samples_total")
		failed := strings.HasSuffix(name, "_failed_total") || strings.HasSuffix(name, "_dropped_total")
		if version == "2.0" && strings.Contains(name, "_exemplars_") {
			continue
		}
		if failed && !strings.HasSuffix(line, " 0\n") {
			r.Errorf("its Prometheus counts %s", line)
		}
	}
	if !sent {
		r.Error("its Prometheus writes to no relay")
	}
}
