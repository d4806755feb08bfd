package placement_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/scrape/placement"
)

// memberLists draws lists of up to 20 members, of whom some may have one name. When plain, none has a capacity.
func memberLists(plain bool) *rapid.Generator[[]placement.Member] {
	return rapid.Custom(func(t *rapid.T) []placement.Member {
		capacity := rapid.SampledFrom([]*rapid.Generator[int64]{
			rapid.Just[int64](0), rapid.Int64Range(0, 3), rapid.Int64Range(1, 1_000_000_000), rapid.Int64Min(1),
		}).Draw(t, "capacities")
		if plain {
			capacity = rapid.Just[int64](0)
		}
		zone := rapid.SampledFrom([]string{"", "a", "b", "c", "d"}[:rapid.IntRange(1, 5).Draw(t, "zones")])
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) placement.Member {
			return placement.Member{
				Name:     fmt.Sprint("member-", rapid.IntRange(0, 19).Draw(t, "name")),
				Zone:     zone.Draw(t, "zone"),
				Capacity: capacity.Draw(t, "capacity"),
			}
		}), 0, 20).Draw(t, "members")
	})
}

var (
	someReplicas = rapid.IntRange(1, 9)
	someKeys     = rapid.SliceOfN(rapid.Uint64(), 1, 50)
)

// greedy chooses owners word by word: walk through the key's order, take whoever is in a new zone, then fill up in
// order. It returns them in the key's order.
func greedy(m *placement.Members, replicas int, key uint64) []int32 {
	order := m.Order(key)
	taken, zones := map[int]bool{}, map[string]bool{}
	for _, i := range order {
		if zone := m.At(i).Zone; len(taken) < replicas && !zones[zone] {
			taken[i], zones[zone] = true, true
		}
	}
	for _, i := range order {
		if len(taken) < replicas {
			taken[i] = true
		}
	}
	var owners []int32
	for _, i := range order {
		if taken[i] {
			owners = append(owners, int32(i))
		}
	}
	for len(owners) < replicas {
		owners = append(owners, -1)
	}
	return owners
}

func TestAssignIsGreedy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := placement.NewMembers(memberLists(false).Draw(t, "members"))
		replicas, keys := someReplicas.Draw(t, "replicas"), someKeys.Draw(t, "keys")
		owners := placement.Assign(m, replicas, keys, make([]int32, rapid.IntRange(0, 100).Draw(t, "len(dst)")))
		if len(owners) != len(keys)*replicas {
			t.Fatalf("%d owners for %d keys", len(owners), len(keys))
		}
		for k, key := range keys {
			if got, want := owners[k*replicas:][:replicas], greedy(m, replicas, key); !slices.Equal(got, want) {
				t.Fatalf("key %#x: owners %v, want %v of %v", key, got, want, m)
			}
		}
	})
}

func TestMembersAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := memberLists(false).Draw(t, "members")
		permuted := rapid.Permutation(list).Draw(t, "permuted")
		a, b := placement.NewMembers(list), placement.NewMembers(permuted)
		if a.Digest() != b.Digest() {
			t.Fatal("the digest depends on the order of the members")
		}
		replicas, keys := someReplicas.Draw(t, "replicas"), someKeys.Draw(t, "keys")
		if !slices.Equal(placement.Assign(a, replicas, keys, nil), placement.Assign(b, replicas, keys, nil)) {
			t.Fatal("the owners depend on the order of the members")
		}
	})
}

// TestReassignIsAssign goes through members that come, go and change, many at once.
func TestReassignIsAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := memberLists(false).Draw(t, "members")
		replicas, keys := someReplicas.Draw(t, "replicas"), someKeys.Draw(t, "keys")
		m := placement.NewMembers(list)
		owners := placement.Assign(m, replicas, keys, nil)
		for range 5 {
			kept := rapid.SliceOfN(rapid.Bool(), len(list), len(list)).Draw(t, "kept")
			i := 0
			list = slices.DeleteFunc(slices.Clone(list), func(placement.Member) bool { i++; return !kept[i-1] })
			if rapid.Bool().Draw(t, "more") {
				list = append(list, memberLists(false).Draw(t, "more members")...)
			}
			next := placement.NewMembers(list)
			before := slices.Clone(owners)
			got, want := placement.Reassign(m, next, replicas, keys, owners), placement.Assign(next, replicas, keys, nil)
			if !slices.Equal(got, want) {
				t.Fatalf("Reassign gave %v, Assign %v\nfrom %v\nto %v", got, want, m, next)
			}
			if !slices.Equal(owners, before) {
				t.Fatal("Reassign wrote into its input")
			}
			m, owners = next, got
		}
	})
}

// TestOnlyWhatMustMoves: whoever gains a key when a member joins is the newcomer, and whoever loses one when a member
// leaves is the leaver; for all zones and replicas, with capacities and without.
func TestOnlyWhatMustMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := memberLists(true).Draw(t, "members")
		list = append(list, placement.Member{Name: "other"})
		if rapid.Bool().Draw(t, "weighted") {
			for i := range list {
				list[i].Capacity = rapid.Int64Range(1, 1_000_000_000).Draw(t, "capacity")
			}
		}
		with := placement.NewMembers(list)
		one := with.At(rapid.IntRange(0, with.Len()-1).Draw(t, "the one"))
		without := placement.NewMembers(slices.DeleteFunc(list, func(m placement.Member) bool { return m.Name == one.Name }))

		replicas, keys := someReplicas.Draw(t, "replicas"), someKeys.Draw(t, "keys")
		many, few := placement.Assign(with, replicas, keys, nil), placement.Assign(without, replicas, keys, nil)
		for k, key := range keys {
			remaining := map[string]bool{}
			for _, owner := range few[k*replicas:][:replicas] {
				if owner >= 0 {
					remaining[without.At(int(owner)).Name] = true
				}
			}
			for _, owner := range many[k*replicas:][:replicas] {
				if owner >= 0 && with.At(int(owner)) != one && !remaining[with.At(int(owner)).Name] {
					t.Fatalf("%v owns key %#x beside %v, but not without it", with.At(int(owner)), key, one)
				}
			}
		}
	})
}
