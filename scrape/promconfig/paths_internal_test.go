package promconfig

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
)

// TestPathsAreThoseOfPrometheus fills every field of Prometheus's configuration
// that is a string with a relative path, asks Prometheus which of them are
// paths, and wants the same from configPaths.
func TestPathsAreThoseOfPrometheus(t *testing.T) {
	cfg := &config.Config{}
	fill(reflect.ValueOf(cfg).Elem(), 0)
	cfg.SetDirectory("/dir")
	want := joined(reflect.ValueOf(cfg).Elem(), "")
	var got []string
	for key, below := range configPaths {
		got = append(got, leaves(below, key)...)
	}
	got = slices.DeleteFunc(got, func(path string) bool { return strings.Contains(path, "_sd_configs") })
	want = slices.DeleteFunc(want, func(path string) bool { return path == "scrape_config_files" })
	compareSets(t, "config", got, want)
}

// TestSDPathsAreThoseOfPrometheus does the same for every discovery linked.
func TestSDPathsAreThoseOfPrometheus(t *testing.T) {
	table := sdPaths()
	for name, sd := range linkedDiscoveries(t) {
		fill(reflect.ValueOf(sd).Elem(), 0)
		if ds, ok := sd.(commoncfg.DirectorySetter); ok && name != "aws" {
			ds.SetDirectory("/dir")
		}
		if name == "aws" {
			continue // it hands everything to the discovery its role names
		}
		want := joined(reflect.ValueOf(sd).Elem(), "")
		compareSets(t, name, leaves(table[name+sdKeySuffix], ""), want)
	}
}

// TestEveryDiscoveryHasATag holds the table against what is linked: under the
// full tag that is all there are.
func TestEveryDiscoveryHasATag(t *testing.T) {
	for _, name := range discovery.RegisteredConfigNames() {
		if _, known := pluginTags[name]; !known && name != "static" && name != "file" && name != "http" {
			t.Errorf("%s is linked and not in pluginTags", name)
		}
	}
}

func compareSets(t *testing.T, name string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if got, want = slices.Compact(got), slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", name, got, want)
	}
}

// linkedDiscoveries makes an empty configuration of each, through the parser.
func linkedDiscoveries(t *testing.T) map[string]discovery.Config {
	t.Helper()
	all := map[string]discovery.Config{}
	fields := reflect.TypeFor[discovery.Config]()
	for _, name := range discovery.RegisteredConfigNames() {
		if typ := registeredType(name); typ != nil && typ.Kind() == reflect.Pointer && typ.Implements(fields) {
			all[name] = reflect.New(typ.Elem()).Interface().(discovery.Config)
		}
	}
	if len(all) < 5 {
		t.Fatalf("found only %v", slices.Collect(maps.Keys(all)))
	}
	return all
}

// registeredType asks the parser's own struct for the type under a key.
func registeredType(name string) reflect.Type {
	marshalled, err := discovery.MarshalYAMLWithInlineConfigs(&config.ScrapeConfig{})
	if err != nil {
		return nil
	}
	field, ok := reflect.TypeOf(marshalled).Elem().FieldByName("AUTO_DISCOVERY_" + name + sdKeySuffix)
	if !ok {
		return nil
	}
	return field.Type.Elem()
}

// fill makes one of everything, with "rel" for every string.
func fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 12 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("rel")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Struct:
		if v.Type().PkgPath() == "net/url" || strings.Contains(v.Type().PkgPath(), "regexp") {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString("*")
			fill(value, depth+1)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		}
	}
}

// joined lists the YAML keys under which a string has become /dir/rel.
func joined(v reflect.Value, at string) []string {
	var all []string
	switch v.Kind() {
	case reflect.String:
		if v.String() == "/dir/rel" {
			return []string{at}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return joined(v.Elem(), at)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, joined(v.Index(i), at)...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all = append(all, joined(v.MapIndex(key), under(at, key.String()))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if strings.Contains(options, "inline") {
				all = append(all, joined(v.Field(i), at)...)
			} else if name != "" && name != "-" {
				all = append(all, joined(v.Field(i), under(at, name))...)
			}
		}
	}
	return all
}

func leaves(p paths, at string) []string {
	if p == nil {
		return nil
	}
	if len(p) == 0 {
		return []string{at}
	}
	var all []string
	for key, below := range p {
		all = append(all, leaves(below, under(at, key))...)
	}
	return all
}

func under(at, key string) string {
	return strings.TrimPrefix(at+"."+key, ".")
}
