package hashring_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringside-project/ringside/relay/hashring"
)

// BenchmarkOwners hashes and places one series of 12 labels (about 330 bytes). It is compared with the hash alone.
func BenchmarkOwners(b *testing.B) {
	keys := make([][]byte, 2000)
	for i := range keys {
		for l := range 12 {
			keys[i] = fmt.Appendf(keys[i], "label_%02d\xffvalue-%011d\xff", l, rand.Uint32())
		}
	}
	b.Run("hash", func(b *testing.B) {
		var sum uint64
		for i := 0; b.Loop(); i++ {
			sum += xxhash.Sum64(keys[i%len(keys)])
		}
	})
	for _, endpoints := range []int{3, 30, 300} {
		for _, alg := range []hashring.Algorithm{hashring.Ketama, hashring.Hashmod} {
			b.Run(fmt.Sprintf("%s/endpoints=%d", alg, endpoints), func(b *testing.B) {
				ring, err := hashring.New(alg, numbered(endpoints, 1), 3)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				var owners []int32
				for i := 0; b.Loop(); i++ {
					owners = ring.Owners(hashring.Hash("default-tenant", keys[i%len(keys)]), owners[:0])
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, endpoints := range []int{3, 30, 300} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hashring.New(hashring.Ketama, numbered(endpoints, 3), 3); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// numbered returns n endpoints in z zones.
func numbered(n, z int) []hashring.Endpoint {
	var endpoints []hashring.Endpoint
	for i := range n {
		e := hashring.Endpoint{Address: fmt.Sprintf("receive-%d.receive.monitoring.svc.cluster.local:10901", i)}
		if z > 1 {
			e.AZ = fmt.Sprint("zone-", i%z)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints
}
