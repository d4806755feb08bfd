package mixin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/consul"
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// exprs are the expressions of all alerts, recording rules and panels, by what
// they are called.
func exprs(t *testing.T) map[string]parser.Expr {
	t.Helper()
	texts := map[string]string{}
	for _, file := range []string{"rendered/alerts.yml", "rendered/rules.yml", "preaggregation.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct {
			Groups []struct {
				Rules []struct{ Alert, Record, Expr string }
			}
		}
		if err := yaml.Unmarshal(text, &content); err != nil {
			t.Fatal(err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				texts[r.Alert+r.Record] = r.Expr
			}
		}
	}
	eachDashboard(t, func(_ *testing.T, _ string, d dashboard) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				texts[d.Title+": "+p.Title+" "+target.RefID] = strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
			}
		}
	})
	all := map[string]parser.Expr{}
	for name, text := range texts {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = expr
	}
	return all
}

// "(a or b) > 0" is never true for b as long as there is an a of equal labels, be
// it 0: each must be compared by itself. The same goes for a sum of "a or b".
func TestComparedBeforeOr(t *testing.T) {
	isOr := func(e parser.Expr) bool {
		for {
			inner, ok := e.(*parser.ParenExpr)
			if !ok {
				break
			}
			e = inner.Expr
		}
		b, ok := e.(*parser.BinaryExpr)
		return ok && b.Op == parser.LOR
	}
	for name, expr := range exprs(t) {
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			switch e := node.(type) {
			case *parser.BinaryExpr:
				if e.Op.IsComparisonOperator() && (isOr(e.LHS) || isOr(e.RHS)) {
					t.Errorf("%s compares what or has put together: %s", name, e)
				}
			case *parser.AggregateExpr:
				if isOr(e.Expr) {
					t.Errorf("%s aggregates what or has put together: %s", name, e)
				}
			}
			return nil
		})
	}
}

// ofKuma is what Kuma's discovery counts, which is in a full build only: see
// Prometheus's discovery/xds.
const ofKuma = "ringside_prometheus_sd_kuma_fetch_failures_total"

// What is looked at of Prometheus's discoveries is there in a sidecar, even if no
// fleet of e2e has such a discovery.
func TestDiscoveryMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	prefixed := prometheus.WrapRegistererWithPrefix("ringside_", reg)
	polled := discovery.NewRefreshMetrics(prefixed)
	if _, err := discovery.RegisterSDMetrics(prefixed, polled); err != nil {
		t.Fatal(err)
	}
	polled.Instantiate("ec2", "job")
	if _, err := discovery.NewManagerMetrics(prefixed, "ringside"); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string][]string{} // labels by name
	for _, f := range families {
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		there[f.GetName()] = names
	}
	wanted := map[string]bool{}
	for name, expr := range exprs(t) {
		for _, metric := range regexp.MustCompile(`ringside_prometheus_sd_\w+`).FindAllString(expr.String(), -1) {
			wanted[metric] = true
			if _, found := there[metric]; !found && metric != ofKuma {
				t.Errorf("%s looks at %s, which is not there", name, metric)
			}
		}
	}
	if len(wanted) < 7 {
		t.Errorf("looked at: %v", wanted)
	}
	if by := there["ringside_prometheus_sd_refresh_failures_total"]; !slices.Contains(by, "mechanism") {
		t.Errorf("failed polls have the labels %q", by)
	}
}
