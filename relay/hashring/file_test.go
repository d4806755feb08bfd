package hashring_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringside-project/ringside/relay/hashring"
)

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const ab = `"endpoints": ["a", "b"]`
	zones := `"endpoints": [{"address": "a", "az": "x"}, {"address": "b", "az": "y"}, {"address": "c", "az": "y"}]`
	for _, c := range []struct{ file, want string }{
		{``, `no hashring; write at least one, such as [{"endpoints": ["receive-0:10901"]}]`},
		{`[]`, `no hashring; write at least one`},
		{`null`, `no hashring; write at least one`},
		{"[\n{\n]", `line 3: invalid character ']'`},
		{"[\n{\"tenants\": 1}]", `line 2: json: cannot unmarshal number into Go struct field`},
		{`[{` + ab + `}, {"hashring": "second"}]`, `hashring 2 (second): endpoints: none; list at least one address`},
		{`[{"endpoints": ["a"]}]`, `hashring 1: replication factor: 2; with 1 endpoints it must be from 1 to 1`},
		{`[{"endpoints": ["b", "a", "b"]}]`, `hashring 1: endpoints: "b" is there twice; list it once`},
		{`[{"endpoints": ["a", ""]}]`, `hashring 1: endpoints: one has no address; write one such as`},
		{`[{"endpoints": ["a", {"az": "x"}]}]`, `hashring 1: endpoints: one has no address; write one such as`},
		{`[{"endpoints": ["a", 3]}]`, `hashring 1: endpoints[1]: write an address such as "receive-0:10901", or {"address"`},
		{`[{"endpoints": ["a", {"address": "b", "az": 1}]}]`, `hashring 1: endpoints[1]: write an address such as`},
		{`[{"algorithm": "katema", ` + ab + `}]`, `hashring 1: algorithm: "katema" is unknown; write ketama or hashmod`},
		{`[{"algorithm": "hashmod", ` + zones + `}]`, `hashring 1: endpoints: "a" has a zone, and hashmod knows none; leave az out, or write algorithm ketama`},
		{`[{"tenants": ["a"], "tenant_matcher_type": "regex", ` + ab + `}]`, `hashring 1: tenant_matcher_type: "regex" is unknown; write exact or glob`},
		{`[{"tenants": ["a", "[b"], "tenant_matcher_type": "glob", ` + ab + `}]`, `hashring 1: tenants[1]: "[b" is no pattern; close its [`},
		{`[{"algorithm": "hashmod", ` + ab + `, "shuffle_sharding_config": {"shard_size": 2}}]`, `shuffle_sharding_config: hashmod has no shuffle sharding; leave it out`},
		{`[{` + ab + `, "shuffle_sharding_config": {"shard_size": 1}}]`, `shuffle_sharding_config: shard_size: 1; with these zones, endpoints and replication factor it must be from 2 to 2`},
		{`[{` + zones + `, "shuffle_sharding_config": {"shard_size": 3}}]`, `shard_size: 3; with these zones, endpoints and replication factor it must be from 1 to 2`},
		{`[{` + ab + `, "shuffle_sharding_config": {"shard_size": 2, "overrides": [{"shard_size": 2, "tenants": ["a"]}]}}]`, `overrides[0].tenant_matcher_type: missing, and Thanos has no default here; write exact or glob`},
		{`[{` + ab + `, "shuffle_sharding_config": {"shard_size": 2, "overrides": [{"shard_size": 2, "tenant_matcher_type": "glob"}]}}]`, `overrides[0].tenants: none; list those`},
		{`[{` + ab + `, "shuffle_sharding_config": {"shard_size": 2, "overrides": [{"shard_size": 2, "tenants": ["["], "tenant_matcher_type": "glob"}]}}]`, `overrides[0]: tenants[0]: "[" is no pattern`},
		{`[{` + ab + `, "shuffle_sharding_config": {"shard_size": 2, "overrides": [{"shard_size": 9, "tenants": ["a"], "tenant_matcher_type": "exact"}]}}]`, `overrides[0]: shard_size: 9; with these`},
	} {
		_, err := hashring.Parse([]byte(c.file), hashring.Ketama, 2)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got %v\nwant %s", c.file, err, c.want)
		}
	}
	_, err := hashring.Parse([]byte(`[{`+zones+`, "shuffle_sharding_config": {"shard_size": 3}}]`), hashring.Ketama, 3)
	if want := `zone "x" has too few endpoints for replication factor 3 with equal numbers from every zone`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNoHashringForTenant(t *testing.T) {
	t.Parallel()
	s := parse(t, `[{"tenants": ["a"], "endpoints": ["x"]}, {"tenants": ["b*"], "tenant_matcher_type": "glob", "endpoints": ["y"]}]`, 1)
	for tenant, want := range map[string]string{"a": "x", "b": "y", "bc": "y", "c": "", "": "", "b*": "y"} {
		r, err := s.Ring(tenant)
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("no hashring for tenant %q; name it in one", tenant))):
			t.Errorf("tenant %q: %v", tenant, err)
		case want != "" && (err != nil || r.Endpoints()[0].Address != want):
			t.Errorf("tenant %q: %v, want ring of %s", tenant, err, want)
		}
	}
}

// Thanos never comes to an end on a ring like this, whose small zone cannot keep pace.
func TestUnevenZones(t *testing.T) {
	t.Parallel()
	s := parse(t, `[{"endpoints": [{"address": "a", "az": "x"}, {"address": "b", "az": "y"}, {"address": "c", "az": "y"}, {"address": "d", "az": "y"}]}]`, 4)
	r, err := s.Ring("any")
	if err != nil {
		t.Fatal(err)
	}
	got := r.Owners(hashring.Hash("any", []byte("key")), nil)
	if slices.Sort(got); !slices.Equal(got, []int32{0, 1, 2, 3}) {
		t.Errorf("owners %v, want all", got)
	}
}

// The cache of shards stays as small as the file says, and any number of goroutines may ask at once.
func TestShardsOfManyTenants(t *testing.T) {
	t.Parallel()
	s := parse(t, `[{"endpoints": ["a", "b", "c", "d"], "shuffle_sharding_config": {"shard_size": 2, "cache_size": 2}}]`, 2)
	want := map[string]*hashring.Ring{}
	for i := range 10 {
		want[fmt.Sprint(i)], _ = s.Ring(fmt.Sprint(i))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				for tenant, ring := range want {
					got, err := s.Ring(tenant)
					if err != nil || !slices.Equal(got.Endpoints(), ring.Endpoints()) {
						t.Errorf("tenant %s: %v, %v", tenant, got, err)
					}
				}
			}
		})
	}
	wg.Wait()
	same := 0
	for tenant, ring := range want {
		if got, _ := s.Ring(tenant); got == ring {
			same++
		}
	}
	if same > 2 {
		t.Errorf("%d shards in a cache of 2", same)
	}
}

func TestOwnersAllocateNothing(t *testing.T) {
	s := parse(t, `[{"tenants": ["x*"], "tenant_matcher_type": "glob", "endpoints": ["a", "b"]},
		{"endpoints": ["a", "b", "c", "d"], "shuffle_sharding_config": {"shard_size": 2}}]`, 2)
	key := []byte("__name__\xffup\xff")
	owners := make([]int32, 0, 2)
	for _, tenant := range []string{"xyz", "other"} {
		if allocs := testing.AllocsPerRun(100, func() {
			r, err := s.Ring(tenant)
			if err != nil {
				t.Fatal(err)
			}
			owners = r.Owners(hashring.Hash(tenant, key), owners[:0])
		}); allocs != 0 {
			t.Errorf("tenant %s: %v allocations", tenant, allocs)
		}
	}
}

func TestQuorum(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 5: 3} {
		if got := hashring.Quorum(replicas); got != want {
			t.Errorf("of %d: %d, want %d", replicas, got, want)
		}
	}
}

func parse(t *testing.T, file string, replicas int) *hashring.Set {
	t.Helper()
	s, err := hashring.Parse([]byte(file), hashring.Ketama, replicas)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever Parse takes places every series of every tenant that has a ring.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"endpoints": ["a"]}]`), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, replicas uint8) {
		if len(data) > 1024 || replicas > 16 {
			t.Skip("slow: every address has 1000 sections")
		}
		s, err := hashring.Parse(data, hashring.Ketama, int(replicas))
		if err != nil {
			return
		}
		for _, tenant := range []string{"default-tenant", "a", ""} {
			r, err := s.Ring(tenant)
			if err != nil {
				if !strings.Contains(err.Error(), "no hashring for tenant") {
					t.Errorf("tenant %q: %v", tenant, err)
				}
				continue
			}
			for _, hash := range []uint64{0, 1 << 63, 1<<64 - 1} {
				got := r.Owners(hash, nil)
				slices.Sort(got)
				if len(slices.Compact(got)) != int(replicas) || got[0] < 0 || int(got[len(got)-1]) >= len(r.Endpoints()) {
					t.Errorf("tenant %q: owners %v of %d endpoints, want %d", tenant, got, len(r.Endpoints()), replicas)
				}
			}
		}
	})
}
