package placement

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Key returns the key of a string: its xxhash64.
func Key(s string) uint64 { return xxhash.Sum64String(s) }

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA
// 2014; constants: Stafford's variant 13 of MurmurHash3's). Every bit of x changes every bit of the result with a
// probability of about one half, so that the order of the members for one key says nothing of that for the next.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// draw returns a member's number in the lottery for a key: uniform over all 64-bit numbers, and independent for every
// key and member. The highest wins.
func draw(key, memberHash uint64) uint64 { return mix(key ^ memberHash) }

// first returns the first member in the key's order when capacities do not count. There must be one.
func (m *Members) first(key uint64) int32 {
	highest, member := uint64(0), 0
	for i, hash := range m.hashes {
		if d := draw(key, hash); d > highest {
			highest, member = d, i
		}
	}
	return int32(member)
}

// A candidate is a member with what it costs to give it a key: the lower, the better. When capacities count, it is the
// cost per unit of capacity that is compared.
type candidate struct {
	cost   uint64
	member int32
}

// candidate: without capacities the cost is what the draw lacks to the highest. With them it is -ln(u), where u is the
// draw scaled to [0, 1]: the lowest -ln(u)/capacity is that of member i with probability capacity(i)/sum of capacities,
// and no member's depends on another's capacity (compare straw2 in Ceph's CRUSH, src/crush/mapper.c).
func (m *Members) candidate(key uint64, i int) candidate {
	cost := ^draw(key, m.hashes[i])
	if m.capacities != nil {
		cost = negLog(cost >> (64 - fraction))
	}
	return candidate{cost: cost, member: int32(i)}
}

// better compares a.cost/capacity(a) with b.cost/capacity(b) exactly, by cross-multiplication in 128 bits. Ties go to
// the lower name.
func (m *Members) better(a, b candidate) bool {
	if m.capacities == nil {
		return a.cost < b.cost || a.cost == b.cost && a.member < b.member
	}
	aHi, aLo := bits.Mul64(a.cost, m.capacities[b.member])
	bHi, bLo := bits.Mul64(b.cost, m.capacities[a.member])
	if aHi != bHi {
		return aHi < bHi
	}
	return aLo < bLo || aLo == bLo && a.member < b.member
}

// next returns the first of the members from, …, to-1 that may be better than the bar, or to. It is the inner loop of
// Assign and spares it nearly all logarithms: since -ln(1-v) >= v, who loses with v as its cost loses.
func (m *Members) next(key uint64, from, to int, bar candidate) int {
	hashes := m.hashes[from:to]
	if m.capacities == nil {
		for i, hash := range hashes {
			if ^draw(key, hash) <= bar.cost {
				return from + i
			}
		}
		return to
	}
	barCapacity, capacities := m.capacities[bar.member], m.capacities[from:to]
	for i, hash := range hashes {
		hi, lo := bits.Mul64(^draw(key, hash)>>(64-fraction), barCapacity)
		barHi, barLo := bits.Mul64(bar.cost, capacities[i])
		if hi < barHi || hi == barHi && lo <= barLo {
			return from + i
		}
	}
	return to
}

// Fixed-point numbers have 58 bits of fraction: so -ln(2^-58) = 40.2, the longest, just fits into 64 bits.
const (
	fraction = 58
	one      = 1 << fraction
	ln2      = 0x2c5c85fdf473de6 // ln(2), rounded down
)

// negLog returns -ln(1-v) for 0 <= v < 1; never less than v, and too low by some 20 units in the last place at most. Who
// wins has a small v: a member of capacity 1 among a thousand of 10^9 wins with one near 2^-40, which is exact to 18 bits.
//
// 1-v is scaled into [1/2, 1]. There -ln(1-v) = 2·atanh(z) = 2z·(1 + z²/3 + z⁴/5 + …) with z = v/(2-v) <= 1/3.
func negLog(v uint64) uint64 {
	u, sum := one-v, uint64(0)
	if u < one/2 {
		halvings := bits.LeadingZeros64(u) - (64 - fraction)
		u <<= halvings
		sum = uint64(halvings) * ln2
	}
	v = one - u
	hi, lo := bits.Mul64(v, one)
	twoZ, _ := bits.Div64(hi, lo, one-v/2)
	square := mul(twoZ, twoZ) / 4
	for term, n := twoZ, uint64(1); term > 0; n += 2 {
		sum += term / n
		term = mul(term, square)
	}
	return sum
}

// mul multiplies two fixed-point numbers whose product is below 64.
func mul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi<<(64-fraction) | lo>>fraction
}
