package scrape

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/ringside-project/ringside/scrape/placement"
	"github.com/ringside-project/ringside/scrape/promconfig"
)

// Labels that the user's relabel_configs set for us (Prometheus Operator's
// convention), and those that we offer to them.
const (
	hashLabel            = "__tmp_hash"
	disableShardingLabel = "__tmp_disable_sharding"
	nodeLabel            = "__meta_ringside_node"
	zoneLabel            = "__meta_ringside_zone"
	filepathLabel        = "__meta_filepath"
	ownFilepathLabel     = "__meta_ringside_filepath"
)

// target is a discovered target after relabelling.
type target struct {
	labels     labels.Labels // final, with the internal __ ones
	address    string
	id         uint64 // hash over all final labels and the scrape URL: one target, one id
	key        uint64 // what its owners are found by
	public     uint64 // publicHash of labels: finds the target of a sample
	group      *targetgroup.Group
	index      int  // in group.Targets
	everywhere bool // every member scrapes it
	plain      bool // its URL is scheme://address/path as they stand
}

// discoveredAddress is where the target was discovered, whatever relabelling
// makes of it.
func (t target) discoveredAddress() string {
	if address, ok := t.group.Targets[t.index][model.AddressLabel]; ok {
		return string(address)
	}
	return string(t.group.Labels[model.AddressLabel])
}

// resolver turns one job's discovered target groups into targets.
type resolver struct {
	job      promconfig.Job
	sharding JobSharding
	self     model.LabelSet  // labels offered to the rules, of this member
	external map[string]bool // names of external labels
	cache    map[*targetgroup.Group]resolved
	last     resolved // of all groups in cache
}

// resolved is what became of one target group.
type resolved struct {
	targets          []target
	dropped, invalid int
	err              error // of the last invalid one
}

func newResolver(job promconfig.Job, sharding JobSharding, self model.LabelSet, external map[string]bool) *resolver {
	if !job.ReadsSelf {
		self = nil
	}
	return &resolver{job: job, sharding: sharding, self: self, external: external, cache: map[*targetgroup.Group]resolved{}}
}

// resolve returns all targets of groups, without duplicates, in an order that
// depends on the targets alone. Groups it has seen before cost nothing.
func (r *resolver) resolve(groups []*targetgroup.Group) resolved {
	if len(groups) == len(r.cache) && !slices.ContainsFunc(groups, func(g *targetgroup.Group) bool { _, ok := r.cache[g]; return !ok }) {
		return r.last
	}
	var all resolved
	cache := make(map[*targetgroup.Group]resolved, len(groups))
	for _, g := range groups {
		res, ok := r.cache[g]
		if !ok {
			res = r.group(g)
		}
		cache[g] = res
		all.targets = append(all.targets, res.targets...)
		all.dropped += res.dropped
		all.invalid += res.invalid
		if res.err != nil {
			all.err = res.err
		}
	}
	r.cache = cache
	slices.SortFunc(all.targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.id, b.id),
			cmp.Compare(a.group.Source, b.group.Source), cmp.Compare(a.index, b.index))
	})
	all.targets = slices.CompactFunc(all.targets, func(a, b target) bool { return a.id == b.id })
	r.last = all
	return all
}

func (r *resolver) group(g *targetgroup.Group) resolved {
	var res resolved
	lb := labels.NewBuilder(labels.EmptyLabels())
	groupLabels := g.Labels
	if len(r.self) > 0 {
		groupLabels = g.Labels.Merge(r.self)
	}
	for i, discovered := range g.Targets {
		final, err := promscrape.PopulateLabels(lb, r.job.Config, discovered, groupLabels)
		switch {
		case err != nil:
			res.invalid++
			res.err = err
			continue
		case final.IsEmpty():
			res.dropped++
			continue
		}
		res.targets = append(res.targets, target{
			labels:     final,
			address:    final.Get(model.AddressLabel),
			id:         identity(final, scrapeURL(final, r.job.Config)),
			key:        placement.Key(r.key(final)),
			public:     publicHash(final, r.external),
			group:      g,
			index:      i,
			everywhere: r.sharding.Everywhere || final.Get(disableShardingLabel) != "",
			plain:      hasPlainURL(final, r.job.Config),
		})
	}
	return res
}

// key is what decides a target's owners; it leaves out whatever may change
// while the target stays the same, signed URL parameters above all.
func (r *resolver) key(final labels.Labels) string {
	key, _ := r.keyAndRule(final)
	return key
}

// keyAndRule also says, for a person, what the key was made from.
func (r *resolver) keyAndRule(final labels.Labels) (key, rule string) {
	if v := final.Get(hashLabel); v != "" {
		return v, hashLabel
	}
	if len(r.sharding.ShardBy) > 0 {
		values := make([]string, len(r.sharding.ShardBy))
		for i, name := range r.sharding.ShardBy {
			values[i] = final.Get(name)
		}
		if slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
			return strings.Join(values, ";"), "shard_by: " + strings.Join(r.sharding.ShardBy, ", ")
		}
	}
	parts := []string{
		r.job.Config.JobName,
		final.Get(model.SchemeLabel) + "://" + final.Get(model.AddressLabel) + final.Get(model.MetricsPathLabel),
	}
	for _, param := range []string{"target", "module"} {
		if v := final.Get(model.ParamLabelPrefix + param); v != "" {
			parts = append(parts, param+"="+v)
		}
	}
	return strings.Join(parts, ";"), "job, scheme, address, path, target and module parameters"
}

func scrapeURL(final labels.Labels, cfg *config.ScrapeConfig) string {
	return promscrape.NewTarget(final, cfg, nil, nil).URL().String()
}

func identity(final labels.Labels, url string) uint64 {
	var d xxhash.Digest
	d.Reset()
	final.Range(func(l labels.Label) { writeLabel(&d, l) })
	d.WriteString(url)
	return d.Sum64()
}

// publicHash is equal for a target and for the samples that Prometheus takes
// from it: over all labels but internal ones, __name__ among them, and those
// that Prometheus adds from external_labels (unless the target has them).
func publicHash(ls labels.Labels, external map[string]bool) uint64 {
	var d xxhash.Digest
	d.Reset()
	ls.Range(func(l labels.Label) {
		if isPublic(l.Name, external) {
			writeLabel(&d, l)
		}
	})
	return d.Sum64()
}

func isPublic(name string, external map[string]bool) bool {
	return !strings.HasPrefix(name, model.ReservedLabelPrefix) && !external[name]
}

func writeLabel(d *xxhash.Digest, l labels.Label) {
	d.WriteString(l.Name)
	d.WriteString("\xff")
	d.WriteString(l.Value)
	d.WriteString("\xff")
}
