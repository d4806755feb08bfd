package hashring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringside-project/ringside/relay/hashring"
)

// What Thanos itself says, in testdata/*.json, is written by
//
//	go -C .ci/thanos run ./vectors ../../relay/hashring/testdata

// A vector is where Thanos places the series of series.json.
type vector struct {
	File      json.RawMessage
	Algorithm hashring.Algorithm
	Replicas  int
	Endpoints []string
	Owners    map[string][][]int // by tenant, for each series: indexes into Endpoints
}

func TestPlacesAsThanos(t *testing.T) {
	t.Parallel()
	keys := vectorKeys(t)
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("vectors: %d, %v", len(files), err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "series.json" {
			t.Run(name, func(t *testing.T) { load[vector](t, file).check(t, keys) })
		}
	}
}

func (v vector) check(t *testing.T, keys [][]byte) {
	set, err := hashring.Parse(v.File, v.Algorithm, v.Replicas)
	if err != nil {
		t.Fatal(err)
	}
	if got := addresses(set.Endpoints()); !slices.Equal(got, v.Endpoints) {
		t.Errorf("endpoints %q, want %q", got, v.Endpoints)
	}
	for tenant, owners := range v.Owners {
		ring, err := set.Ring(tenant)
		if err != nil {
			t.Fatal(err)
		}
		if len(owners) != len(keys) {
			t.Fatalf("tenant %q: owners of %d series, want %d", tenant, len(owners), len(keys))
		}
		for i, want := range owners {
			got := ring.Owners(hashring.Hash(tenant, keys[i]), nil)
			if !slices.EqualFunc(got, want, func(g int32, w int) bool { return ring.Endpoints()[g].Address == v.Endpoints[w] }) {
				t.Fatalf("tenant %q, series %d: owners %v of %q, want %v of %q", tenant, i, got, addresses(ring.Endpoints()), want, v.Endpoints)
			}
		}
	}
}

// vectorKeys returns the keys of the series, whose hashes it checks.
func vectorKeys(t *testing.T) [][]byte {
	var keys [][]byte
	for i, s := range load[[]struct {
		Labels [][2]string
		Hash   uint64
	}](t, "testdata/series.json") {
		var key []byte
		for _, l := range s.Labels {
			key = append(append(append(append(key, l[0]...), 0xff), l[1]...), 0xff)
		}
		if got := hashring.Hash("default-tenant", key); got != s.Hash {
			t.Errorf("hash of series %d: %d, want %d", i, got, s.Hash)
		}
		keys = append(keys, key)
	}
	return keys
}

func load[T any](t *testing.T, file string) (v T) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func addresses(endpoints []hashring.Endpoint) []string {
	var a []string
	for _, e := range endpoints {
		a = append(a, e.Address)
	}
	return a
}
