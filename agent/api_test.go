package agent

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/relay"
	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/uploader"
)

// section is the text below a heading of docs/api.md.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, found, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/api.md has no section %q", heading)
	}
	found, _, _ = strings.Cut(found, "\n## ")
	return found
}

// rows are the cells of those rows of a text's tables that begin with code.
func rows(text string) [][]string {
	var found [][]string
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, " | "); regexp.MustCompile("^\\| \\*{0,2}`").MatchString(line) {
			cells[0] = strings.TrimPrefix(cells[0], "| ")
			found = append(found, cells)
		}
	}
	return found
}

// quoted is the code in a cell, and which of it is bold.
func quoted(cell string) (words []string, bold []string) {
	for _, m := range regexp.MustCompile("(\\*\\*)?`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		words = append(words, m[2])
		if m[1] != "" {
			bold = append(bold, m[2])
		}
	}
	return words, bold
}

// same wants two lists to hold the same, in any order.
func same(t *testing.T, what string, documented, code []string) {
	t.Helper()
	for _, x := range code {
		if !slices.Contains(documented, x) {
			t.Errorf("docs/api.md, %s: does not have %s", what, x)
		}
	}
	for _, x := range documented {
		if !slices.Contains(code, x) {
			t.Errorf("docs/api.md, %s: has %s; there is no such", what, x)
		}
	}
}

// fields are the JSON fields of t and of what is in it, each with its type.
func fields(t reflect.Type, path string, optional bool) []string {
	var found []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		absent := optional || strings.HasPrefix(options, "omit")
		switch shown := shownType(kind); {
		case f.Anonymous && name == "":
			found = append(found, fields(kind, path, optional)...)
		case shown == "" && kind.Kind() == reflect.Slice:
			found = append(found, fields(kind.Elem(), path+name+"[].", absent)...)
		case shown == "":
			found = append(found, fields(kind, path+name+".", absent)...)
		case absent:
			found = append(found, path+name+" "+shown+"?")
		default:
			found = append(found, path+name+" "+shown)
		}
	}
	return found
}

// shownType is what the document calls a type; empty: it shows what is in it.
func shownType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[labels.Labels]() || t.Kind() == reflect.Map:
		return "object"
	case t == reflect.TypeFor[[]string]():
		return "list"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any"
	}
	return ""
}

// promised are the fields that are stable: see the top of docs/api.md.
var promised = map[string]string{
	"The envelope": "status data errorType error",
	"Cluster": "cluster self settled view members[].name members[].zone members[].address members[].http_address members[].state members[].prometheus_ready " +
		"members[].targets members[].series members[].capacity_series members[].config_hash members[].view members[].applied_view members[].version",
	"Targets": "total page per_page targets[].job targets[].scrape_url targets[].labels targets[].key targets[].owners targets[].local targets[].phase",
	"Explain": "why pending",
	"Drain":   "handed unconfirmed",
}

// TestDocumentedFields wants docs/api.md to have every field of every answer
// with its type, and no other, and its examples to be such answers.
func TestDocumentedFields(t *testing.T) {
	for heading, example := range map[string]any{
		"The envelope": &envelope{},
		"Cluster":      &clusterJSON{},
		"Targets":      &targetsJSON{},
		"Explain":      &[]scrape.Explanation{},
		"Drain":        &drained{},
		"Relay":        &relay.Status{},
		"Uploads":      &uploader.Status{},
		"Config":       &configJSON{},
	} {
		var documented, stable []string
		for _, cells := range rows(section(t, heading)) {
			names, bold := quoted(cells[0])
			stable = append(stable, bold...)
			for _, name := range names {
				documented = append(documented, name+" "+cells[1])
			}
		}
		kind := reflect.TypeOf(example).Elem()
		if kind.Kind() == reflect.Slice {
			kind = kind.Elem()
		}
		code := fields(kind, "", false)
		if heading == "Explain" { // it does not repeat the fields of a target
			target := fields(reflect.TypeFor[scrape.Target](), "", false)
			code = slices.DeleteFunc(code, func(f string) bool { return slices.Contains(target, f) })
		}
		same(t, heading, documented, code)
		same(t, heading+", promised", stable, strings.Fields(promised[heading]))
		if _, text, ok := strings.Cut(section(t, heading), "```json\n"); ok {
			text, _, _ = strings.Cut(text, "```")
			d := json.NewDecoder(strings.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(example); err != nil {
				t.Errorf("docs/api.md, %s: the example: %v", heading, err)
			} else if _, err := d.Token(); err != io.EOF {
				t.Errorf("docs/api.md, %s: more than one example", heading)
			}
		}
	}
}

// TestDocumentedPaths wants docs/api.md to have the paths and the kinds of
// error that there are in the code, and no others.
func TestDocumentedPaths(t *testing.T) {
	var source string
	for _, file := range []string{"handlers.go", "status.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	var routes, kinds, documented []string
	for _, m := range regexp.MustCompile(`mux\.Handle(?:Func)?\("(?:([A-Z]+) )?([^"]+)"`).FindAllStringSubmatch(source, -1) {
		method := m[1]
		if method == "" {
			method = "any"
		}
		routes = append(routes, method+" "+strings.TrimSuffix(m[2], "{$}"))
	}
	for _, cells := range rows(section(t, "Paths")) {
		paths, _ := quoted(cells[0])
		for _, path := range paths {
			for _, method := range strings.Split(cells[1], ", ") {
				documented = append(documented, method+" "+path)
			}
		}
	}
	same(t, "paths", documented, routes)

	for _, m := range regexp.MustCompile(`(?:h\.fail\(w, http\.\w+, |ErrorType: )"(\w+)"`).FindAllStringSubmatch(source, -1) {
		kinds = append(kinds, m[1])
	}
	documented = nil
	for _, m := range regexp.MustCompile("(?m)^\\| \\d{3} \\| `(\\w+)` \\|").FindAllStringSubmatch(section(t, "The envelope"), -1) {
		documented = append(documented, m[1])
	}
	same(t, "kinds of error", documented, kinds)
}

// promisedMetrics are the metrics that are stable.
const promisedMetrics = `ringside_build_info ringside_config_last_reload_successful ringside_cluster_members ringside_cluster_settled
	ringside_targets ringside_target_moves_total ringside_unowned_targets ringside_handover_duration_seconds ringside_load_series
	ringside_capacity_series ringside_cluster_load_ratio ringside_relay_samples_total ringside_relay_request_duration_seconds
	ringside_relay_in_flight_bytes ringside_upload_blocks_total ringside_upload_lag_seconds ringside_upload_bytes_total
	ringside_flush_samples_total`

// everything is a configuration that has all metrics.
const everything = `
cluster: {name: prod, node: a, listen_address: "127.0.0.1:0"}
prometheus: {url: "http://127.0.0.1:1"}
relay:
  listen_address: 127.0.0.1:0
  upstreams:
    - {name: ring, hashring: {file: hashrings.json}}
    - {name: queued, required: false, endpoints: ["http://127.0.0.1:1/"]}
uploader: {bucket: {type: FILESYSTEM, config: {directory: bucket}}}
`

// TestDocumentedMetrics wants docs/api.md to have the row of every metric that
// an agent registers, and no other.
func TestDocumentedMetrics(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ringside.yml":   everything,
		"hashrings.json": `[{"endpoints": ["http://127.0.0.1:1/"]}]`,
		"prometheus.yml": "scrape_configs: [{job_name: ledger, static_configs: [{targets: [10.255.255.1:8080]}]}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "ringside.yml"), false)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	a, err := New(cfg, Options{ListenAddress: "127.0.0.1:0", ConfigFile: filepath.Join(dir, "ringside.yml")}, log.NewNopLogger(), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	metrics := awaitMetrics(t, reg)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	var code, documented, bold []string
	for name, m := range metrics {
		if isOwn(name) {
			code = append(code, m.row(name))
		}
	}
	for _, cells := range rows(section(t, "Metrics")) {
		_, stable := quoted(cells[0])
		bold = append(bold, stable...)
		documented = append(documented, "| "+strings.ReplaceAll(strings.TrimSpace(strings.Join(cells, " | ")), "**", ""))
	}
	same(t, "metrics", documented, code)
	same(t, "metrics, promised", bold, strings.Fields(promisedMetrics))
	for _, name := range described(reg) {
		if _, ok := metrics[name]; isOwn(name) && !ok {
			t.Errorf("%s has no series: what is configured here does not have all metrics", name)
		}
	}
}

// isOwn tells whether a metric is not a library's.
func isOwn(name string) bool {
	return strings.HasPrefix(name, "ringside_") && !strings.HasPrefix(name, "ringside_prometheus_sd_")
}

// metric is what a registry tells of one.
type metric struct {
	kind, help string
	labels     map[string][]string // the values of each
}

// awaitMetrics gathers by name once all of the project's have series, or it is
// clear that some never will.
func awaitMetrics(t *testing.T, reg *prometheus.Registry) map[string]metric {
	t.Helper()
	names := slices.DeleteFunc(described(reg), func(name string) bool { return !isOwn(name) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		found := gather(t, reg)
		if !slices.ContainsFunc(names, func(name string) bool { _, ok := found[name]; return !ok }) {
			break
		}
	}
	return gather(t, reg) // with all series of the last to come
}

func gather(t *testing.T, reg *prometheus.Registry) map[string]metric {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]metric{}
	for _, f := range families {
		m := metric{strings.ToLower(f.GetType().String()), f.GetHelp(), map[string][]string{}}
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				m.labels[l.GetName()] = append(m.labels[l.GetName()], l.GetValue())
			}
		}
		found[f.GetName()] = m
	}
	return found
}

// row is what the document is to have of a metric.
func (m metric) row(name string) string {
	var shown []string
	for _, label := range slices.Sorted(maps.Keys(m.labels)) {
		text := "`" + label + "`"
		if slices.Contains([]string{"metric", "outcome", "phase", "reason", "state"}, label) { // those whose values are known
			text += ": " + strings.Join(slices.Compact(slices.Sorted(slices.Values(m.labels[label]))), ", ")
		}
		shown = append(shown, text)
	}
	return strings.ReplaceAll("| `"+name+"` | "+m.kind+" | "+strings.Join(shown, "; ")+" | "+m.help+" |", "|  |", "| |")
}

// described are the names of all metrics, those without series included.
func described(reg *prometheus.Registry) []string {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		reg.Describe(descs)
	}()
	var names []string
	for d := range descs {
		names = append(names, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1])
	}
	return names
}
