package hashring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// The fields of a hashrings file that count here. Others, such as external_labels, are for the receivers.
type fileRing struct {
	Name      string            `json:"hashring"`
	Tenants   []string          `json:"tenants"`
	Matcher   string            `json:"tenant_matcher_type"`
	Endpoints []json.RawMessage `json:"endpoints"`
	Algorithm Algorithm         `json:"algorithm"`
	Sharding  fileSharding      `json:"shuffle_sharding_config"`
}

type fileSharding struct {
	Size      int            `json:"shard_size"` // 0 or less: no shuffle sharding
	CacheSize int            `json:"cache_size"` // 0 or less: defaultCacheSize
	Unzoned   bool           `json:"zone_awareness_disabled"`
	Overrides []fileOverride `json:"overrides"`
}

type fileOverride struct {
	Size    int      `json:"shard_size"`
	Tenants []string `json:"tenants"`
	Matcher string   `json:"tenant_matcher_type"`
}

const defaultCacheSize = 100

// Parse reads a hashrings file of Thanos Receive. def is the algorithm of rings that name none.
//
// What Thanos takes in silence for something else is refused, so that a slip in the file, or a file for a newer Thanos,
// never moves series: an algorithm it does not know (it takes hashmod), a kind of matcher it does not know, and an
// override without one or without tenants (these match nobody). So are a shard size that fails at a tenant's first series, a pattern that
// is none, and an address listed twice in a ring.
func Parse(data []byte, def Algorithm, replicas int) (*Set, error) {
	var file []fileRing
	if len(bytes.TrimSpace(data)) > 0 {
		if err := json.Unmarshal(data, &file); err != nil {
			return nil, locate(data, err)
		}
	}
	if len(file) == 0 {
		return nil, errors.New(`no hashring; write at least one, such as [{"endpoints": ["receive-0:10901"]}]`)
	}
	s := &Set{}
	for i := range file {
		if file[i].Algorithm == "" {
			file[i].Algorithm = def
		}
		r, err := file[i].build(replicas)
		if err != nil {
			return nil, fmt.Errorf("hashring %d%s: %w", i+1, named(file[i].Name), err)
		}
		s.rings = append(s.rings, r)
	}
	s.collect()
	return s, nil
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", name)
}

// locate adds to an error of encoding/json the line where it arose.
func locate(data []byte, err error) error {
	offset := int64(-1)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	} else if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = mistyped.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:offset], []byte("\n")), err)
}

func (f *fileRing) build(replicas int) (tenantRing, error) {
	tenants, err := newMatcher(f.Tenants, f.Matcher)
	if err != nil {
		return tenantRing{}, err
	}
	endpoints := make([]Endpoint, len(f.Endpoints))
	for i, raw := range f.Endpoints {
		if endpoints[i], err = endpoint(raw); err != nil {
			return tenantRing{}, fmt.Errorf("endpoints[%d]: %w", i, err)
		}
	}
	ring, err := New(f.Algorithm, endpoints, replicas)
	if err != nil {
		return tenantRing{}, err
	}
	r := tenantRing{tenants: tenants, ring: ring}
	if f.Sharding.Size <= 0 {
		return r, nil
	}
	if f.Algorithm != Ketama {
		return tenantRing{}, fmt.Errorf("shuffle_sharding_config: %s has no shuffle sharding; leave it out, or write algorithm %s", f.Algorithm, Ketama)
	}
	if r.shards, err = f.Sharding.build(ring); err != nil {
		return tenantRing{}, fmt.Errorf("shuffle_sharding_config: %w", err)
	}
	return r, nil
}

// endpoint reads an address, or an object with one.
func endpoint(raw json.RawMessage) (Endpoint, error) {
	var e struct {
		Address string `json:"address"`
		AZ      string `json:"az"`
	}
	if json.Unmarshal(raw, &e.Address) != nil {
		if err := json.Unmarshal(raw, &e); err != nil {
			return Endpoint{}, errors.New(`write an address such as "receive-0:10901", or {"address": "receive-0:10901", "az": "eu-1a"}`)
		}
	}
	return Endpoint{Address: e.Address, AZ: e.AZ}, nil
}

func (f *fileSharding) build(ring *Ring) (*shards, error) {
	sh := newShards(ring, !f.Unzoned)
	if sh.size, sh.capacity = f.Size, f.CacheSize; sh.capacity <= 0 {
		sh.capacity = defaultCacheSize
	}
	if err := sh.validate(f.Size); err != nil {
		return nil, err
	}
	for i, o := range f.Overrides {
		where := fmt.Sprintf("overrides[%d]", i)
		switch {
		case o.Matcher == "":
			return nil, fmt.Errorf("%s.tenant_matcher_type: missing, and Thanos has no default here; write exact or glob", where)
		case len(o.Tenants) == 0:
			return nil, fmt.Errorf("%s.tenants: none; list those whose shard size it is, or leave the override out", where)
		}
		tenants, err := newMatcher(o.Tenants, o.Matcher)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if err := sh.validate(o.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		sh.overrides = append(sh.overrides, shardSize{tenants: tenants, size: o.Size})
	}
	return sh, nil
}
