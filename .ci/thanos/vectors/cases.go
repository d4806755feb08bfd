package main

import (
	"fmt"
	"strings"

	"github.com/thanos-io/thanos/pkg/receive"
)

type vectorCase struct {
	name      string
	algorithm receive.HashringAlgorithm
	replicas  uint64
	file      string
	tenants   []string
}

var (
	oneTenant = []string{"default-tenant"}
	threeOf   = []string{"default-tenant", "team-a", "team-b"}
	many      = []string{"default-tenant", "team-a", "team-b", "team-c", "big-1", "big-22", "", "tönant/x"}
)

func cases() []vectorCase {
	const ketama, hashmod = receive.AlgorithmKetama, receive.AlgorithmHashmod
	three := file(`"receive-2:10901", "receive-0:10901", "receive-1:10901"`)
	uneven := file(zone("a", 1) + zone("b", 2) + zone("c", 3))
	even := file(zone("c", 3) + zone("a", 3) + zone("b", 3))
	return []vectorCase{
		{"ketama-1", ketama, 1, three, threeOf},
		{"ketama-2", ketama, 2, three, threeOf},
		{"ketama-3", ketama, 3, three, oneTenant},
		{"ketama-one", ketama, 1, file(`"127.0.0.1:10901"`), oneTenant},
		{"ketama-30-endpoints", ketama, 3, file(zone("", 30)), oneTenant},
		{"ketama-zones-1", ketama, 1, even, oneTenant},
		{"ketama-zones-2", ketama, 2, even, oneTenant},
		{"ketama-zones-3", ketama, 3, even, oneTenant},
		{"ketama-zones-5", ketama, 5, even, oneTenant},
		{"ketama-zones-uneven-2", ketama, 2, uneven, oneTenant},
		{"ketama-zones-uneven-3", ketama, 3, uneven, oneTenant},
		{"ketama-zones-uneven-5", ketama, 5, uneven, oneTenant},
		{"ketama-zones-some", ketama, 3, file(`"receive-0:10901", "receive-1:10901", ` + zone("a", 2)), oneTenant},
		{"hashmod-1", hashmod, 1, three, threeOf},
		{"hashmod-2", hashmod, 2, three, oneTenant},
		{"hashmod-3", hashmod, 3, file(zone("", 7)), oneTenant},
		{"tenants", hashmod, 2, tenants, append(many, "exact", "glob-1", "*")},
		{"shards-1", ketama, 1, sharded(even, `{"shard_size": 2, "overrides": [
			{"shard_size": 4, "tenants": ["team-a"], "tenant_matcher_type": "exact"},
			{"shard_size": 9, "tenants": ["no", "big-?"], "tenant_matcher_type": "glob"},
			{"shard_size": 6, "tenants": ["big-*"], "tenant_matcher_type": "glob"}]}`), many},
		{"shards-2", ketama, 2, sharded(file(zone("", 12)), `{"shard_size": 3, "cache_size": 2}`), many},
		{"shards-3", ketama, 3, sharded(even, `{"shard_size": 5}`), many},
		{"shards-zones-uneven", ketama, 3, sharded(uneven, `{"shard_size": 3}`), many},
		{"shards-unzoned", ketama, 1, sharded(uneven, `{"shard_size": 4, "zone_awareness_disabled": true}`), many},
	}
}

const tenants = `[
	{"hashring": "exact", "tenants": ["exact", "team-a", "glob-1", "*"], "endpoints": ["a:1", "b:1", "c:1"], "external_labels": {"x": "y"}},
	{"hashring": "globs", "tenants": ["glob-*", "team-[bc]", "big-?"], "tenant_matcher_type": "glob", "algorithm": "ketama",
	 "endpoints": ["b:1", {"address": "d:1", "az": "one"}, {"address": "e:1", "capnproto_address": "e:2", "az": "two"}]},
	{"hashring": "rest", "tenants": [], "tenant_matcher_type": "exact", "endpoints": ["f:1", "d:1", "c:1", "g:1"], "unknown": 1}
]`

// file returns a hashrings file with one ring of these endpoints.
func file(endpoints string) string {
	return fmt.Sprintf(`[{"hashring": "default", "endpoints": [%s]}]`, strings.TrimSuffix(endpoints, ", "))
}

// zone returns n endpoints, each with a comma after it.
func zone(az string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"address": "receive-%s-%d.monitoring.svc:10901", "az": "%s"}, `, az, i, az)
	}
	return b.String()
}

// sharded adds shuffle sharding to a file of one ring.
func sharded(file, sharding string) string {
	return strings.TrimSuffix(file, "}]") + `, "shuffle_sharding_config": ` + sharding + "}]"
}
