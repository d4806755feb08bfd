package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The bounds of the relay as a process, by what else carries the same requests
// in the same run.
const (
	minEfficiency = 0.25     // samples a CPU second, of a ReverseProxy's
	maxSlowdown   = 3        // 99th percentile of the latency, of the sink's own
	maxGrowth     = 40 << 20 // bytes of resident memory, over idle

	offeredRate = 200_000 // samples a second
	connections = 4       // of a sender that is never idle
	rounds      = 5
)

// BenchmarkRelay measures the relay as a process of its own, over HTTP. Its
// figures are those of one pass, however long: run it with -benchtime=1x.
func BenchmarkRelay(b *testing.B) {
	for _, version := range []string{"1.0", "2.0"} {
		b.Run(version+"/saturated", func(b *testing.B) { benchSaturated(newStand(b), b, version) })
		b.Run(version+"/offered", func(b *testing.B) { benchOffered(newStand(b), b, version) })
		b.Run(version+"/verified", func(b *testing.B) { benchVerified(newStand(b), b, version) })
	}
}

// benchSaturated compares what the relay and a ReverseProxy take of a CPU for
// the same requests, in turns.
func benchSaturated(s *stand, b *testing.B, version string) {
	bodies, plain := prebuilt(version)
	sink := s.role("role-discard")
	proxy := s.role("role-proxy", sink.URL)
	relay, relayURL := s.relay(sink.URL + "/api/v1/write")
	contenders := []*contender{{name: "proxy", unit: proxy, url: proxy.URL + "/api/v1/write"}, {name: "relay", unit: relay, url: relayURL}}
	for _, c := range contenders {
		c.writers = newWriters(connections, c.url, version)
		defer closeWriters(c.writers)
		s.round(c, bodies, time.Second) // to warm up
		c.samples, c.cpu, c.wall = 0, 0, 0
	}
	for range rounds {
		for _, c := range contenders {
			s.round(c, bodies, 2*time.Second)
		}
	}
	through, of := contenders[1], contenders[0]
	efficiency := through.perCPUSecond() / of.perCPUSecond()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(through.perCPUSecond(), "samples/cpu-s")
	b.ReportMetric(100*efficiency, "%-of-proxy")
	b.Logf("MEASURED relay %s, saturated, %d series of %d labels a request, %d B a sample (%d B compressed): %.2f M samples a CPU second, ReverseProxy %.2f M: %.0f %% (bound %.0f %%); %.2f M and %.2f M samples a second over %d connections",
		version, batchSamples, len(seriesLabels(0)), plain/batchSamples, len(bodies[0])/batchSamples,
		through.perCPUSecond()/1e6, of.perCPUSecond()/1e6, 100*efficiency, 100*minEfficiency, through.perSecond()/1e6, of.perSecond()/1e6, connections)
	if efficiency < minEfficiency {
		b.Errorf("%.1f %% of a ReverseProxy, the bound is %.0f %%", 100*efficiency, 100*minEfficiency)
	}
}

// contender is something that requests go through.
type contender struct {
	name    string
	unit    *Unit
	url     string
	writers []*writer

	samples   int64
	cpu, wall time.Duration
	latencies []time.Duration
}

func (c *contender) perCPUSecond() float64 { return float64(c.samples) / c.cpu.Seconds() }
func (c *contender) perSecond() float64    { return float64(c.samples) / c.wall.Seconds() }

// round saturates c for d.
func (s *stand) round(c *contender, bodies [][]byte, d time.Duration) {
	s.Helper()
	cpu, began := s.cpuTime(c.unit), time.Now()
	samples, err := saturate(c.writers, bodies, d)
	if err != nil {
		s.Fatalf("%s: %v", c.name, err)
	}
	c.wall += time.Since(began)
	c.cpu += s.cpuTime(c.unit) - cpu
	c.samples += samples
}

// benchOffered compares the latency through the relay with that of the sink,
// in turns, and looks at what memory the relay takes for it.
func benchOffered(s *stand, b *testing.B, version string) {
	bodies, _ := prebuilt(version)
	sink := s.role("role-discard")
	relay, relayURL := s.relay(sink.URL + "/api/v1/write")
	s.quiesce(relay)
	idle := s.memory(relay, "VmRSS")
	s.forgetPeak(relay)

	const every = time.Second * batchSamples / offeredRate
	contenders := []*contender{{name: "sink", url: sink.URL + "/api/v1/write"}, {name: "relay", url: relayURL}}
	for _, c := range contenders {
		c.writers = newWriters(4*connections, c.url, version)
		defer closeWriters(c.writers)
	}
	for round := range 1 + rounds {
		for _, c := range contenders {
			took, err := offer(c.writers, bodies, every, 4*time.Second)
			if err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			if round > 0 { // the first is to warm up
				c.latencies = append(c.latencies, took...)
			}
		}
	}
	grown := s.memory(relay, "VmHWM") - idle
	straight, through := contenders[0].latencies, contenders[1].latencies
	slowdown := float64(quantile(through, 0.99)) / float64(quantile(straight, 0.99))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(slowdown, "x-p99-of-sink")
	b.ReportMetric(float64(grown)/(1<<20), "MiB-over-idle")
	b.Logf("MEASURED relay %s, %d samples a second offered: latency %s, straight to the sink %s: p99 %.2f times (bound %d); resident memory %.1f MiB at most, %.1f MiB over idle (bound %d)",
		version, offeredRate, latencies(through), latencies(straight), slowdown, maxSlowdown,
		float64(idle+grown)/(1<<20), float64(grown)/(1<<20), maxGrowth>>20)
	if slowdown > maxSlowdown {
		b.Errorf("the 99th percentile is %.2f times the sink's, the bound is %d", slowdown, maxSlowdown)
	}
	if grown > maxGrowth {
		b.Errorf("%d bytes over idle, the bound is %d", grown, maxGrowth)
	}
}

// quiesce waits until the program takes hardly any more memory or CPU.
func (s *stand) quiesce(u *Unit) {
	s.Helper()
	const second, cpuShare, growth = time.Second, 50 * time.Millisecond, 1 << 20
	deadline := time.Now().Add(30 * time.Second)
	for cpu, resident := s.cpuTime(u), s.memory(u, "VmRSS"); ; {
		time.Sleep(second) // what is taken in it is what is looked at
		tookCPU, grown := s.cpuTime(u)-cpu, s.memory(u, "VmRSS")-resident
		if tookCPU <= cpuShare && grown <= growth {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s is not idle: it took %s of CPU and %d bytes in a second", u.Name, tookCPU, grown)
		}
		cpu, resident = cpu+tookCPU, resident+grown
	}
}

func latencies(d []time.Duration) string {
	return fmt.Sprintf("p50 %s p99 %s", quantile(d, 0.5).Round(10*time.Microsecond), quantile(d, 0.99).Round(10*time.Microsecond))
}

// benchVerified sends what a verifier knows, over several connections at once,
// of which each has series of its own, and asks it what it got.
func benchVerified(s *stand, b *testing.B, version string) {
	const series, each, requests = 500, batchSamples / 500, 50
	sink := s.role("role-verify")
	_, relayURL := s.relay(sink.URL + "/api/v1/write")
	writers := newWriters(connections, relayURL, version)
	defer closeWriters(writers)

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for i, w := range writers {
		wg.Go(func() {
			for n := range requests {
				points := verifiedPoints(i*series, series, each, 1_790_000_000_000+int64(n*each))
				if err := w.post(ctx, compressed(body(version, points))); err != nil {
					cancel(err)
					return
				}
				sent.Add(int64(len(points)))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		b.Fatal(err)
	}
	var got verdict
	if err := json.Unmarshal(s.get(sink.URL), &got); err != nil {
		b.Fatal(err)
	}
	lost := int(sent.Load()) - got.Samples - got.Histograms
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(lost), "lost")
	b.Logf("MEASURED relay %s, verified: %d samples acknowledged, %d of them histograms, with %d exemplars, of %d series: %d lost, %d series unsorted, %d samples reordered, %d series with wrong labels, %d samples with wrong values",
		version, sent.Load(), got.Histograms, got.Exemplars, got.Series, lost, got.Unsorted, got.Reordered, got.WrongLabels, got.WrongValues)
	if lost != 0 || got.Unsorted+got.Reordered+got.WrongLabels+got.WrongValues > 0 {
		b.Errorf("such as: %s", got.Example)
	}
	if got.Histograms == 0 || got.Exemplars == 0 || got.Series != connections*series {
		b.Errorf("not what was to be sent: %+v", got)
	}
}
