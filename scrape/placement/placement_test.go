package placement_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringside-project/ringside/scrape/placement"
)

// keyOf returns the key of the i-th of many targets.
func keyOf(i int) uint64 {
	return placement.Key(fmt.Sprintf("node http 10.%d.%d.%d:9100 /metrics", i>>16, i>>8&255, i&255))
}

func keysOf(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	return keys
}

// fleet returns n members with these zones and capacities, over and over; none: no zone, no capacity.
func fleet(n int, zones []string, capacities []int64) []placement.Member {
	list := make([]placement.Member, n)
	for i := range list {
		list[i].Name = fmt.Sprintf("prometheus-%d", i)
		if len(zones) > 0 {
			list[i].Zone = zones[i%len(zones)]
		}
		if len(capacities) > 0 {
			list[i].Capacity = capacities[i%len(capacities)]
		}
	}
	return list
}

func names(m *placement.Members, owners []int32) string {
	list := make([]string, len(owners))
	for i, owner := range owners {
		list[i] = "-"
		if owner >= 0 {
			list[i] = m.At(int(owner)).Name
		}
	}
	return strings.Join(list, " ")
}

// golden holds who owns what, for good: while an upgrade rolls out, old and new members must agree. If a change of the
// algorithm is meant, raise `algorithm` too.
var golden = []struct {
	name     string
	members  []placement.Member
	replicas int
	first    []string // owners of the first keys
	sum      uint64   // xxhash64 of the owners of 10,000 keys
	digest   uint64
}{
	{
		"one", fleet(1, nil, nil), 1,
		[]string{"prometheus-0", "prometheus-0", "prometheus-0", "prometheus-0"},
		0x2573011508ff5cfd, 0x9d8f9713bfa5b03c,
	},
	{
		"equal", fleet(10, nil, nil), 1,
		[]string{"prometheus-1", "prometheus-5", "prometheus-5", "prometheus-4"},
		0x93fce2ca05bb1da5, 0x1e55f9bd2f6ce4ee,
	},
	{
		"equal, two replicas", fleet(10, nil, nil), 2,
		[]string{"prometheus-1 prometheus-5", "prometheus-5 prometheus-1", "prometheus-5 prometheus-3", "prometheus-4 prometheus-1"},
		0xd4e65c015a120b7f, 0x1e55f9bd2f6ce4ee,
	},
	{
		"equal, zones", fleet(10, []string{"a", "a", "a", "b", "c"}, nil), 3,
		[]string{"prometheus-1 prometheus-8 prometheus-9", "prometheus-5 prometheus-8 prometheus-4", "prometheus-5 prometheus-3 prometheus-4", "prometheus-4 prometheus-1 prometheus-3"},
		0x82391132cdba5069, 0x284149f608d82891,
	},
	{
		"equal, fewer zones than replicas", fleet(10, []string{"a", "b"}, nil), 3,
		[]string{"prometheus-1 prometheus-5 prometheus-8", "prometheus-5 prometheus-1 prometheus-0", "prometheus-5 prometheus-3 prometheus-6", "prometheus-4 prometheus-1 prometheus-3"},
		0x39442bff9003ff5b, 0xfdf5435415f91624,
	},
	{
		"equal capacities", fleet(10, nil, []int64{5}), 1,
		[]string{"prometheus-1", "prometheus-5", "prometheus-5", "prometheus-4"},
		0x93fce2ca05bb1da5, 0x8ee4390477651baf,
	},
	{
		"a capacity missing", fleet(10, nil, []int64{5, 0}), 1,
		[]string{"prometheus-1", "prometheus-5", "prometheus-5", "prometheus-4"},
		0x93fce2ca05bb1da5, 0x4e84cef272f519d0,
	},
	{
		"weighted", fleet(10, nil, []int64{1_000_000, 2_000_000, 3_500_000}), 1,
		[]string{"prometheus-5", "prometheus-5", "prometheus-5", "prometheus-4"},
		0x68a6d011a61a91e8, 0x266b7b7eea92eb95,
	},
	{
		"weighted, extremes", fleet(10, nil, []int64{1, 1_000_000_000}), 2,
		[]string{"prometheus-1 prometheus-5", "prometheus-5 prometheus-1", "prometheus-5 prometheus-3", "prometheus-1 prometheus-3"},
		0xc693ed7eb155bb0b, 0x925ca7a0f6deda58,
	},
	{
		"weighted, zones", fleet(10, []string{"a", "b", "", "b"}, []int64{10, 20, 30}), 3,
		[]string{"prometheus-1 prometheus-8 prometheus-6", "prometheus-5 prometheus-0 prometheus-6", "prometheus-5 prometheus-2 prometheus-8", "prometheus-4 prometheus-1 prometheus-2"},
		0x445b1e6da240fbd1, 0x2b0b0e11355bfe9d,
	},
	{
		"fewer members than replicas", fleet(2, nil, []int64{1, 2}), 3,
		[]string{"prometheus-1 prometheus-0 -", "prometheus-1 prometheus-0 -", "prometheus-0 prometheus-1 -", "prometheus-1 prometheus-0 -"},
		0x511f4d1a25f552e3, 0x6ad0a1324c133cbb,
	},
}

func TestGolden(t *testing.T) {
	keys := keysOf(10_000)
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			m := placement.NewMembers(test.members)
			owners := placement.Assign(m, test.replicas, keys, nil)
			var bytes []byte
			for _, owner := range owners {
				bytes = binary.LittleEndian.AppendUint32(bytes, uint32(owner))
			}
			var first []string
			for k := range 4 {
				first = append(first, names(m, owners[k*test.replicas:][:test.replicas]))
			}
			if !slices.Equal(first, test.first) {
				t.Errorf("owners of the first keys: %q, want %q", first, test.first)
			}
			if sum := xxhash.Sum64(bytes); sum != test.sum {
				t.Errorf("owners of all keys sum up to %#x, want %#x", sum, test.sum)
			}
			if digest := m.Digest(); digest != test.digest {
				t.Errorf("digest %#x, want %#x", digest, test.digest)
			}
		})
	}
}

// TestOrderIsThatOfTheFormula computes the order of the members from the published formulas, with none of the package's
// arithmetic.
func TestOrderIsThatOfTheFormula(t *testing.T) {
	mix := func(x uint64) uint64 { // SplitMix64
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	if got := mix(0x9e3779b97f4a7c15); got != 0xe220a8397b1dcdaf { // its first number for the seed 0
		t.Fatalf("mix is not SplitMix64's: %#x", got)
	}
	for name, capacities := range map[string][]int64{
		"equal": nil, "weighted": {1_000_000, 2_000_000, 3_500_000}, "extremes": {1, 1_000_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			m := placement.NewMembers(fleet(20, nil, capacities))
			for i := range 10_000 {
				key := keyOf(i)
				cost := func(i int) float64 {
					v := float64(^mix(key^xxhash.Sum64String(m.At(i).Name))) / (1 << 64)
					if len(capacities) == 0 {
						return v
					}
					return -math.Log1p(-v) / float64(m.At(i).Capacity)
				}
				order := m.Order(key)
				if len(order) != m.Len() {
					t.Fatalf("%d of %d members in the order", len(order), m.Len())
				}
				for n := range order[1:] {
					if a, b := cost(order[n]), cost(order[n+1]); a > b*(1+1e-9) {
						t.Fatalf("key %d: %v before %v: costs %g, %g", i, m.At(order[n]), m.At(order[n+1]), a, b)
					}
				}
			}
		})
	}
}

func TestMembers(t *testing.T) {
	a, b := placement.Member{Name: "a", Zone: "x", Capacity: 1}, placement.Member{Name: "b"}
	m := placement.NewMembers([]placement.Member{b, {Name: "a", Zone: "y"}, {Name: "a", Zone: "x", Capacity: 2}, a, {Name: "b", Capacity: -7}})
	if m.Len() != 2 || m.At(0) != a || m.At(1) != b {
		t.Errorf("got %v, want a and b once each", m)
	}

	digests := map[uint64][]placement.Member{}
	for _, list := range [][]placement.Member{
		nil, {a}, {b}, {a, b}, {{Name: "a"}}, {{Name: "a", Zone: "x"}}, {{Name: "ax", Capacity: 1}}, {{Name: "", Zone: "ax", Capacity: 1}}, {{Name: "a", Capacity: 1}},
	} {
		digest := placement.NewMembers(list).Digest()
		if same, taken := digests[digest]; taken {
			t.Errorf("%v and %v have one digest", same, list)
		}
		digests[digest] = list
	}
}

func TestFewMembers(t *testing.T) {
	none, two := placement.NewMembers(nil), placement.NewMembers(fleet(2, nil, nil))
	keys := keysOf(3)
	for replicas := 1; replicas <= 3; replicas++ {
		owners := placement.Assign(none, replicas, keys, nil)
		if len(owners) != 3*replicas || slices.Max(owners) != -1 {
			t.Errorf("%d replicas, no members: %v", replicas, owners)
		}
		if got, want := placement.Reassign(none, two, replicas, keys, owners), placement.Assign(two, replicas, keys, nil); !slices.Equal(got, want) {
			t.Errorf("%d replicas, two members after none: %v, want %v", replicas, got, want)
		}
		if got := placement.Reassign(two, none, replicas, keys, placement.Assign(two, replicas, keys, nil)); !slices.Equal(got, owners) {
			t.Errorf("%d replicas, no members after two: %v", replicas, got)
		}
		if got := placement.Assign(two, replicas, nil, []int32{7}); len(got) != 0 {
			t.Errorf("%d replicas, no keys: %v", replicas, got)
		}
	}
	if order := none.Order(keys[0]); len(order) != 0 {
		t.Errorf("order of no members: %v", order)
	}
}

// TestManyReplicas wants a number of replicas that no fleet has to cost nothing by itself.
func TestManyReplicas(t *testing.T) {
	m := placement.NewMembers(fleet(3, nil, nil))
	if owners := placement.Assign(m, math.MaxInt, nil, nil); len(owners) != 0 {
		t.Errorf("%d owners of no keys", len(owners))
	}
}

func TestAssignAllocatesNothingByKey(t *testing.T) {
	keys := keysOf(1000)
	for replicas := 1; replicas <= 3; replicas++ {
		for _, capacities := range [][]int64{nil, {1, 2}} {
			m := placement.NewMembers(fleet(20, []string{"a", "b"}, capacities))
			dst := make([]int32, len(keys)*replicas)
			if n := testing.AllocsPerRun(5, func() { placement.Assign(m, replicas, keys, dst) }); n > 1 {
				t.Errorf("%d replicas, capacities %v: %v allocations for %d keys", replicas, capacities, n, len(keys))
			}
		}
	}
}

// TestCountsAreEven holds the counts of the usual case to what an ideal random choice gives, and all others' to within
// six standard deviations of what they should be.
func TestCountsAreEven(t *testing.T) {
	const n = 100_000
	keys := keysOf(n)
	counts := count(placement.Assign(placement.NewMembers(fleet(100, nil, nil)), 1, keys, nil), 100)
	if got := maxOverMean(counts); got > 1.10 {
		t.Errorf("max/mean of counts %.3f", got)
	}

	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		list := fleet(2+random.IntN(50), nil, nil)
		total := 0.0
		for i := range list {
			list[i].Name = fmt.Sprint(random.Uint64())
			list[i].Capacity = int64(math.Exp(random.Float64() * math.Log(1e9))) // from 1 to 10^9
			total += float64(list[i].Capacity)
		}
		m := placement.NewMembers(list)
		for i, got := range count(placement.Assign(m, 1, keys, nil), m.Len()) {
			share := float64(m.At(i).Capacity) / total
			if deviation := math.Sqrt(n * share * (1 - share)); math.Abs(float64(got)-n*share) > 6*deviation+3 {
				t.Errorf("%v of %d members: %d keys, want %.0f ± %.0f", m.At(i), m.Len(), got, n*share, deviation)
			}
		}
	}
}

func count(owners []int32, members int) []int {
	counts := make([]int, members)
	for _, owner := range owners {
		counts[owner]++
	}
	return counts
}

func maxOverMean(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(slices.Max(counts)) * float64(len(counts)) / float64(sum)
}
