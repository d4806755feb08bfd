// Package mixin tests what can be said of the rendered mixin without a server:
// that Grafana can read the dashboards, and that every alert has its page in the
// runbook. promtool tests the rules (make rules), e2e's TestMixin both with real
// servers.
package mixin

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type dashboard struct {
	UID, Title, Refresh string
	SchemaVersion       int
	Links               []struct{ Type string }
	Templating          struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                *datasource
	}
	FieldConfig struct {
		Defaults struct {
			Unit  string
			Links []struct{ URL string }
		}
	}
}

type datasource struct{ Type, UID string }

// eachDashboard runs test with the text and the content of each dashboard.
func eachDashboard(t *testing.T, test func(t *testing.T, text string, d dashboard)) {
	files, err := filepath.Glob("rendered/dashboards/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("dashboards %q, error %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d dashboard
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			test(t, string(text), d)
		})
	}
}

func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	eachDashboard(t, func(t *testing.T, _ string, d dashboard) {
		if d.UID == "" || uids[d.UID] {
			t.Errorf("uid %q is empty or another one's", d.UID)
		}
		uids[d.UID] = true
		if d.SchemaVersion < 38 || d.Title == "" || d.Refresh == "" || len(d.Links) == 0 {
			t.Errorf("schema %d, title %q, refresh %q, links %v", d.SchemaVersion, d.Title, d.Refresh, d.Links)
		}
		if len(d.Templating.List) < 3 || d.Templating.List[0].Type != "datasource" {
			t.Errorf("variables %v", d.Templating.List)
		}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("panel %q: id %d is none or another one's", p.Title, p.ID)
			}
			ids[p.ID] = true
			if p.Type != "row" {
				checkPanel(t, p)
			}
		}
	})
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
		t.Errorf("panel %q: description %q, %d targets", p.Title, p.Description, len(p.Targets))
	}
	if p.Type != "table" && p.FieldConfig.Defaults.Unit == "" {
		t.Errorf("panel %q has no unit", p.Title)
	}
	chosen := datasource{"prometheus", "${datasource}"}
	if p.Datasource == nil || *p.Datasource != chosen {
		t.Errorf("panel %q: data source %v", p.Title, p.Datasource)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if target.RefID == "" || refs[target.RefID] || target.Expr == "" {
			t.Errorf("panel %q: refId %q is none or another one's, or expr %q is empty", p.Title, target.RefID, target.Expr)
		}
		refs[target.RefID] = true
		if target.Datasource == nil || *target.Datasource != chosen {
			t.Errorf("panel %q: data source %v of a target", p.Title, target.Datasource)
		}
	}
}

// Panels lie within Grafana's 24 columns, and none on another one.
func TestPanelsDoNotOverlap(t *testing.T) {
	eachDashboard(t, func(t *testing.T, _ string, d dashboard) {
		for i, p := range d.Panels {
			a := p.GridPos
			if a.W <= 0 || a.H <= 0 || a.X < 0 || a.Y < 0 || a.X+a.W > 24 {
				t.Errorf("panel %q lies at %+v", p.Title, a)
			}
			for _, other := range d.Panels[:i] {
				b := other.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("panels %q at %+v and %q at %+v overlap", p.Title, a, other.Title, b)
				}
			}
		}
	})
}

var reference = regexp.MustCompile(`\$\{?(\w+)`)

// What Grafana itself gives a value.
var builtin = []string{"__rate_interval", "__interval", "__field", "__value", "__all"}

// Every variable that is used is defined, and every one that is defined is used.
func TestVariables(t *testing.T) {
	eachDashboard(t, func(t *testing.T, text string, d dashboard) {
		used := map[string]bool{}
		for _, ref := range reference.FindAllStringSubmatch(text, -1) {
			used[ref[1]] = true
		}
		for _, v := range d.Templating.List {
			if !used[v.Name] {
				t.Errorf("variable %s is not used", v.Name)
			}
			delete(used, v.Name)
		}
		for _, name := range builtin {
			delete(used, name)
		}
		if len(used) > 0 {
			t.Errorf("not defined: %q", slices.Sorted(maps.Keys(used)))
		}
	})
}

// alerts are the rendered ones by name.
func alerts(t *testing.T) map[string]alert {
	t.Helper()
	text, err := os.ReadFile("rendered/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]alert{}
	for _, g := range file.Groups {
		for _, a := range g.Rules {
			if _, twice := all[a.Alert]; twice {
				t.Errorf("there are two alerts %s", a.Alert)
			}
			all[a.Alert] = a
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

var severities = []string{"critical", "warning", "info"}

func TestAlerts(t *testing.T) {
	for name, a := range alerts(t) {
		if !strings.HasPrefix(name, "Ringside") || a.Expr == "" || !slices.Contains(severities, a.Labels["severity"]) {
			t.Errorf("%s: expr %q, labels %v", name, a.Expr, a.Labels)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: annotations %v", name, a.Annotations)
		}
		want := "https://github.com/ringside-project/ringside/blob/main/examples/mixin/runbook.md#" + strings.ToLower(name)
		if got := a.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook_url %q, want %q", name, got, want)
		}
	}
}

// A section of the runbook for every alert, with all its parts, and none for what
// is no alert.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	all := alerts(t)
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		a, known := all[name]
		if !known {
			t.Errorf("section %q is of no alert, or of one that has two", name)
			continue
		}
		delete(all, name)
		for _, part := range []string{"*Means:*", "*Hurts:*", "*Look:*", "*Do:*"} {
			if !strings.Contains(body, part) {
				t.Errorf("section %s has no part %s", name, part)
			}
		}
		if said := "Severity: " + a.Labels["severity"] + "."; !strings.Contains(body, said) {
			t.Errorf("section %s does not say %q", name, said)
		}
	}
	for name := range all {
		t.Errorf("alert %s has no section", name)
	}
}

// promtool is told of every alert when it fires and when it does not, and of every
// recording rule what it gives.
func TestEveryRuleIsTested(t *testing.T) {
	files, err := filepath.Glob("tests/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	fires, rests, all := map[string]bool{}, map[string]bool{}, ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct {
			Tests []struct {
				Alerts []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal(text, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, test := range content.Tests {
			for _, a := range test.Alerts {
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
				rests[a.Name] = rests[a.Name] || len(a.Expected) == 0
			}
		}
		all += string(text)
	}
	for name := range alerts(t) {
		if !fires[name] || !rests[name] {
			t.Errorf("alert %s: tested that it fires: %t, that it does not: %t", name, fires[name], rests[name])
		}
	}
	for _, file := range []string{"rendered/rules.yml", "preaggregation.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range regexp.MustCompile(`record: "?([\w:]+)`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(all, record[1]) {
				t.Errorf("%s of %s is not tested", record[1], file)
			}
		}
	}
}
