package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// bulkSeries is how many of the exporter's series there are to make a load.
const bulkSeries = 1000

// exporter is a target with every kind of sample that there is. All of its
// series change with each scrape.
type exporter struct {
	address string
	serve   http.Handler

	mu      sync.Mutex
	rng     *rand.Rand
	scrapes int

	bulk    *prometheus.GaugeVec
	odd     *prometheus.GaugeVec
	native  prometheus.Histogram // with classic buckets too, and exemplars
	classic prometheus.Histogram
}

// newExporter returns an exporter that serves until the test ends.
func newExporter(t *testing.T) *exporter {
	t.Helper()
	reg := prometheus.NewRegistry()
	auto := promauto.With(reg)
	e := &exporter{
		serve: promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		rng:   rand.New(rand.NewPCG(1, 2)),
		bulk:  auto.NewGaugeVec(prometheus.GaugeOpts{Name: "exporter_bulk", Help: "A load."}, []string{"n"}),
		odd:   auto.NewGaugeVec(prometheus.GaugeOpts{Name: "exporter.wide größe", Help: "UTF-8 \\ \"names\"."}, []string{"straße 名", replicaLabel}),
		native: auto.NewHistogram(prometheus.HistogramOpts{
			Name: "exporter_native_seconds", Help: "Native and classic.", Buckets: []float64{0.1, 1, 10}, NativeHistogramBucketFactor: 1.1,
		}),
		classic: auto.NewHistogram(prometheus.HistogramOpts{Name: "exporter_classic_seconds", Help: "Classic.", Buckets: []float64{0.1, 1, 10}}),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = ln.Addr().String()
	server := &http.Server{Handler: e}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return e
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scrapes++
	for i := range bulkSeries {
		e.bulk.WithLabelValues(strconv.Itoa(i)).Set(e.rng.Float64())
	}
	e.odd.WithLabelValues("\"\n\\é", "").Set([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e-300}[e.scrapes%4])
	e.odd.WithLabelValues("has the replica label", "mine").Set(float64(e.scrapes))
	if e.scrapes%5 == 0 {
		e.odd.DeleteLabelValues("comes and goes", "") // which makes a stale marker
	} else {
		e.odd.WithLabelValues("comes and goes", "").Set(math.SmallestNonzeroFloat64)
	}
	for range 5 {
		v := math.Exp(e.rng.NormFloat64() * 2)
		trace := prometheus.Labels{"trace_id": fmt.Sprintf("%032x", e.rng.Uint64())}
		e.native.(prometheus.ExemplarObserver).ObserveWithExemplar(v, trace)
		e.classic.Observe(v)
	}
	// Prometheus asks for names as they are in the text formats only.
	accept := strings.ReplaceAll(r.Header.Get("Accept"), "encoding=delimited", "encoding=delimited;escaping=allow-utf-8")
	r.Header.Set("Accept", accept)
	e.serve.ServeHTTP(w, r)
}

// jobs returns the scrape_configs entries of the exporter. Custom buckets are
// a kind of sample that Prometheus drops for remote_write 1.0 itself.
func (e *exporter) jobs(customBuckets bool) string {
	jobs := fmt.Sprintf(`  - job_name: exporter
    scrape_native_histograms: true
    always_scrape_classic_histograms: true
    static_configs: [{targets: ['%s']}]
`, e.address)
	if customBuckets {
		jobs += fmt.Sprintf(`  - job_name: custom-buckets
    convert_classic_histograms_to_nhcb: true
    static_configs: [{targets: ['%s']}]
`, e.address)
	}
	return jobs
}
