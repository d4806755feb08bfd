package placement_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"testing"

	"github.com/ringside-project/ringside/scrape/placement"
)

// The size at which the schemes are compared, and at which the bounds hold.
const (
	benchTargets = 100_000
	benchMembers = 100
)

// A scheme assigns keys to the members it is given, by their indexes.
type scheme struct {
	name string
	with func(m *placement.Members) func(keys []uint64, owners []int32)
}

var schemes = []scheme{
	{"hrw", hrw},
	{"ring-of-512-tokens", ring},
	{"hash-mod-n", mod},
	{"ideal-random", ideal},
}

func hrw(m *placement.Members) func([]uint64, []int32) {
	return func(keys []uint64, owners []int32) { placement.Assign(m, 1, keys, owners) }
}

// ring is plain consistent hashing: each member has 512 tokens, a key goes to the next token's member.
func ring(m *placement.Members) func([]uint64, []int32) {
	type token struct {
		at    uint64
		owner int32
	}
	var tokens []token
	for i := range m.Len() {
		for n := range 512 {
			tokens = append(tokens, token{placement.Key(fmt.Sprintf("%s:%d", m.At(i).Name, n)), int32(i)})
		}
	}
	sort.Slice(tokens, func(i, j int) bool { return tokens[i].at < tokens[j].at })
	return func(keys []uint64, owners []int32) {
		for k, key := range keys {
			i := sort.Search(len(tokens), func(i int) bool { return tokens[i].at >= key })
			owners[k] = tokens[i%len(tokens)].owner
		}
	}
}

func mod(m *placement.Members) func([]uint64, []int32) {
	return func(keys []uint64, owners []int32) {
		for k, key := range keys {
			owners[k] = int32(key % uint64(m.Len()))
		}
	}
}

// ideal is the yardstick for counts: independent choices by ChaCha8, which no hash can beat but by luck. It remembers
// nothing, so it says nothing of moves.
func ideal(m *placement.Members) func([]uint64, []int32) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], m.Digest())
	random := rand.New(rand.NewChaCha8(seed))
	return func(keys []uint64, owners []int32) {
		for k := range keys {
			owners[k] = int32(random.IntN(m.Len()))
		}
	}
}

// benchFleet returns members of whom the last by name is the last in the list; with another number, of other names.
func benchFleet(number, members int) []placement.Member {
	list := make([]placement.Member, members)
	for i := range list {
		list[i].Name = fmt.Sprintf("prometheus-%d-%04d", number, i)
	}
	return list
}

// BenchmarkAssign compares the schemes, with tokens and the like computed beforehand: the time per target, and the
// max/mean of the counts, on average over 20 fleets.
func BenchmarkAssign(b *testing.B) {
	keys, owners := keysOf(benchTargets), make([]int32, benchTargets)
	for _, s := range schemes {
		b.Run(s.name, func(b *testing.B) {
			const fleets = 20
			sum := 0.0
			for f := range fleets {
				s.with(placement.NewMembers(benchFleet(f, benchMembers)))(keys, owners)
				sum += maxOverMean(count(owners, benchMembers))
			}
			assign := s.with(placement.NewMembers(benchFleet(0, benchMembers)))
			b.ReportAllocs()
			for b.Loop() {
				assign(keys, owners)
			}
			reportPerTarget(b)
			b.ReportMetric(sum/fleets, "max/mean")
		})
	}
}

// variants of what is assigned, beyond the usual case.
var variants = []struct {
	name       string
	replicas   int
	zones      []string
	capacities []int64
}{
	{"1-replica", 1, nil, nil},
	{"2-replicas", 2, nil, nil},
	{"2-replicas-3-zones", 2, []string{"a", "b", "c"}, nil},
	{"1-replica-weighted", 1, nil, []int64{1_000_000, 2_000_000, 3_500_000}},
	{"2-replicas-3-zones-weighted", 2, []string{"a", "b", "c"}, []int64{1_000_000, 2_000_000, 3_500_000, 5_000_000}},
}

// BenchmarkVariants shows what replicas, zones and capacities cost: cold, and for one member more or fewer.
func BenchmarkVariants(b *testing.B) {
	keys := keysOf(benchTargets)
	for _, v := range variants {
		list := fleet(benchMembers+1, v.zones, v.capacities)
		more, fewer := placement.NewMembers(list), placement.NewMembers(list[:benchMembers])
		ofMore, ofFewer := placement.Assign(more, v.replicas, keys, nil), placement.Assign(fewer, v.replicas, keys, nil)
		b.Run(v.name+"/assign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				placement.Assign(fewer, v.replicas, keys, ofFewer)
			}
			reportPerTarget(b)
		})
		b.Run(v.name+"/join", func(b *testing.B) {
			for b.Loop() {
				placement.Reassign(fewer, more, v.replicas, keys, ofFewer)
			}
			reportPerTarget(b)
		})
		b.Run(v.name+"/leave", func(b *testing.B) {
			for b.Loop() {
				placement.Reassign(more, fewer, v.replicas, keys, ofMore)
			}
			reportPerTarget(b)
		})
	}
}

// BenchmarkJoin and BenchmarkLeave compare what one member more or fewer costs and moves: moved-% of all targets (about
// 1 must), strays-% of all targets between two members who were there before and after (0 must).
func BenchmarkJoin(b *testing.B)  { benchmarkChange(b, benchMembers, benchMembers+1) }
func BenchmarkLeave(b *testing.B) { benchmarkChange(b, benchMembers, benchMembers-1) }

func benchmarkChange(b *testing.B, from, to int) {
	keys := keysOf(benchTargets)
	prev, next := placement.NewMembers(benchFleet(0, from)), placement.NewMembers(benchFleet(0, to))
	for _, s := range schemes {
		if s.name == "ideal-random" {
			continue
		}
		b.Run(s.name, func(b *testing.B) {
			before, after := make([]int32, len(keys)), make([]int32, len(keys))
			s.with(prev)(keys, before)
			change := s.with(next)
			if s.name == "hrw" {
				change = func(keys []uint64, owners []int32) {
					after = placement.Reassign(prev, next, 1, keys, before)
				}
			}
			for b.Loop() {
				change(keys, after)
			}
			moved, strays, both := 0, 0, int32(min(from, to))
			for k := range keys {
				if before[k] != after[k] {
					moved++
					if before[k] < both && after[k] < both {
						strays++
					}
				}
			}
			b.ReportMetric(100*float64(moved)/benchTargets, "moved-%")
			b.ReportMetric(100*float64(strays)/benchTargets, "strays-%")
		})
	}
}

// BenchmarkMillion assigns 1,000,000 targets to 1,000 members, cold: bytes/target is all that is allocated, keys,
// members and owners, but not the targets themselves.
func BenchmarkMillion(b *testing.B) {
	const targets, members = 1_000_000, 1_000
	list := benchFleet(0, members)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.ReadMemStats(&before)
		keys := make([]uint64, targets)
		for i := range keys {
			keys[i] = rand.Uint64()
		}
		owners := placement.Assign(placement.NewMembers(list), 1, keys, nil)
		runtime.ReadMemStats(&after)
		if slices.Min(owners) < 0 {
			b.Fatal("a target without an owner")
		}
	}
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/targets, "bytes/target")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/targets, "ns/target")
}

func reportPerTarget(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchTargets, "ns/target")
}
