// Vectors writes into a directory where Thanos's own hashrings place some series: what relay/hashring is tested
// against. From the root of the project:
//
//	go -C .ci/thanos run ./vectors ../../relay/hashring/testdata
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/thanos/pkg/receive"
	"github.com/thanos-io/thanos/pkg/store/labelpb"
	"github.com/thanos-io/thanos/pkg/store/storepb/prompb"
)

// series is how many there are.
const series = 250

// A vector is one hashrings file and the owners of the series under it.
type vector struct {
	File      json.RawMessage           `json:"file"`
	Algorithm receive.HashringAlgorithm `json:"algorithm"` // --receive.hashrings-algorithm
	Replicas  uint64                    `json:"replicas"`
	Endpoints []string                  `json:"endpoints"` // addresses, sorted
	Owners    map[string][][]int        `json:"owners"`    // by tenant, for each series: indexes into endpoints, the primary first
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: vectors DIRECTORY")
	}
	dir, all := os.Args[1], newSeries()
	if err := writeSeries(filepath.Join(dir, "series.json"), all); err != nil {
		log.Fatal(err)
	}
	for _, c := range cases() {
		v, err := c.vector(all)
		if err == nil {
			err = write(filepath.Join(dir, c.name+".json"), v)
		}
		if err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
	}
}

// newSeries returns series with few and many, short and long, plain and UTF-8 labels, sorted by name.
func newSeries() []prompb.TimeSeries {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"cluster", "code", "handler", "instance", "job", "le", "método", "namespace", "pod", "prometheus_replica", "zone"}
	all := make([]prompb.TimeSeries, series)
	for i := range all {
		labels := []labelpb.ZLabel{{Name: "__name__", Value: fmt.Sprintf("metric_%d_total", random.IntN(50))}}
		for _, name := range names {
			if random.IntN(3) > 0 {
				labels = append(labels, labelpb.ZLabel{Name: name, Value: fmt.Sprintf("välue-%d", random.Uint32())})
			}
		}
		switch {
		case i == 0:
			labels = nil
		case i%50 == 1: // Thanos hashes labels of more than 1 KiB in another way, to the same end
			labels[len(labels)-1].Value = strings.Repeat("long", 200+random.IntN(200))
		case i%50 == 2:
			labels[0].Value = strings.Repeat("x", 1012+i/50) // and around that border
			labels = labels[:1]
		}
		all[i].Labels = labels
	}
	return all
}

func writeSeries(file string, all []prompb.TimeSeries) error {
	type hashed struct {
		Labels [][2]string `json:"labels"`
		Hash   uint64      `json:"hash"` // with tenant "default-tenant"
	}
	var out []hashed
	for _, s := range all {
		h := hashed{Hash: labelpb.HashWithPrefix("default-tenant", s.Labels)}
		for _, l := range s.Labels {
			h.Labels = append(h.Labels, [2]string{l.Name, l.Value})
		}
		out = append(out, h)
	}
	return write(file, out)
}

func (c *vectorCase) vector(all []prompb.TimeSeries) (*vector, error) {
	cfg, err := receive.ParseConfig([]byte(c.file))
	if err != nil {
		return nil, err
	}
	ring, err := receive.NewMultiHashring(c.algorithm, c.replicas, cfg, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	v := &vector{File: json.RawMessage(c.file), Algorithm: c.algorithm, Replicas: c.replicas, Owners: map[string][][]int{}}
	for _, e := range ring.Nodes() {
		v.Endpoints = append(v.Endpoints, e.Address)
	}
	slices.Sort(v.Endpoints)
	v.Endpoints = slices.Compact(v.Endpoints)
	for _, tenant := range c.tenants {
		for i := range all {
			owners := make([]int, c.replicas)
			for n := range c.replicas {
				e, err := ring.GetN(tenant, &all[i], n)
				if err != nil {
					return nil, fmt.Errorf("tenant %s: %w", tenant, err)
				}
				owners[n] = slices.Index(v.Endpoints, e.Address)
			}
			v.Owners[tenant] = append(v.Owners[tenant], owners)
		}
	}
	return v, nil
}

func write(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
