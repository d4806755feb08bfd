package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

const mixin = "../examples/mixin/rendered"

// TestMixin runs the mixin where it belongs: the Prometheus servers of a fleet with
// relay and uploader scrape all sidecars and evaluate its rules. Every panel of the
// dashboards shows something, everything that alerts look at is there, no alert is
// even pending while all is well, and those that should be are when a pair dies.
func TestMixin(t *testing.T) {
	t.Parallel()
	m := newMixed(t)
	m.up(m.Pairs[:2]...)
	m.up(m.Pairs[2]) // so that there are hand-overs to show

	seen := m.Pairs[0].Prometheus.URL
	m.await(time.Minute, "evaluated", func() error { return m.evaluated(seen) })
	m.await(30*time.Second, "recorded", func() error { return m.recorded(seen) })
	m.await(30*time.Second, "watched", func() error { return m.watched(seen) })
	panels, queries := 0, 0
	for _, d := range m.dashboards() {
		began := time.Now()
		m.await(90*time.Second, "shown", func() error { return m.shows(seen, d) })
		panels, queries = panels+len(d.drawn()), queries+d.queries()
		m.event("all %d panels of %s show something after %s", len(d.drawn()), d.Title, since(began))
	}
	m.measured("%d panels with %d queries have data", panels, queries)
	m.await(30*time.Second, "quiet", func() error {
		active, err := m.active(seen)
		// The last pair was away at first, which that one remembers for 5 minutes.
		active = slices.DeleteFunc(active, func(name string) bool { return name == "RingsidePeerUnreachable" })
		if len(active) > 0 {
			return fmt.Errorf("all is well, but not to %v", active)
		}
		return err
	})

	m.Pairs[2].Kill()
	m.await(30*time.Second, "noticed", func() error {
		active, err := m.active(seen)
		if !slices.Contains(active, "RingsideMemberDead") || !slices.Contains(active, "RingsideSidecarDown") {
			return errors.Join(err, fmt.Errorf("a pair is dead, and what is pending is %v", active))
		}
		return nil
	})
	m.settle(20*time.Second, m.Pairs[:2]...)
	m.await(20*time.Second, "one that the survivors agree on", func() error {
		active, err := m.active(seen)
		if slices.Contains(active, "RingsideMembersDisagree") || slices.Contains(active, "RingsideNotSettled") {
			return fmt.Errorf("the survivors agree, but pending are %v", active)
		}
		return err
	})
}

// mixed is a fleet with everything on. Its first Prometheus has it all in view.
type mixed struct {
	*rig
}

// newMixed makes a fleet of three and starts nothing of it but the upstream.
func newMixed(t *testing.T) *mixed {
	t.Helper()
	m := &mixed{rig: newRig(t, setup{pairs: 3, targets: 60, replicas: 1})}
	receiver := m.prometheus(m.beside("receiver"), "global: {}\n")
	m.launch(receiver)
	write := receiver.URL + "/api/v1/write"
	m.relayTo(fmt.Sprintf(`- {name: receiver, hashring: {file: hashrings.json}}
- {name: archive, endpoints: ['%s'], required: false, write_relabel_configs: [{target_label: to, replacement: archive}]}`, write))
	if err := m.WriteFile("hashrings.json", fmt.Sprintf(`[{"endpoints": [{"address": %q}]}]`, write)); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile("prometheus.yml", m.source()); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Pairs {
		text, err := os.ReadFile(filepath.Join(p.Dir, "ringside.yml"))
		if err != nil {
			t.Fatal(err)
		}
		sharding := "replicas: 1\n  capacity_series: 100000\n  jobs: [{job: ringside, everywhere: true}]"
		bucket := fmt.Sprintf("uploader:\n  bucket: {type: FILESYSTEM, config: {directory: %q}}\n", m.beside("blocks"))
		if err := p.WriteFile("ringside.yml", strings.Replace(string(text), "replicas: 1", sharding, 1)+bucket); err != nil {
			t.Fatal(err)
		}
		// So that there are blocks soon.
		p.Prometheus.Command.Args = append(p.Prometheus.Command.Args, "--storage.tsdb.min-block-duration=10s", "--storage.tsdb.max-block-duration=10s")
	}
	return m
}

// source is a prometheus.yml with the mixin's rules and a job of all sidecars.
func (m *mixed) source() string {
	m.Helper()
	rules, err := filepath.Abs(filepath.Join(mixin, "*.yml"))
	if err != nil {
		m.Fatal(err)
	}
	var sidecars []string
	for _, p := range m.Pairs {
		sidecars = append(sidecars, strings.TrimPrefix(p.Sidecar.URL, "http://"))
	}
	return strings.Replace(fileSource(interval), "global:\n", fmt.Sprintf("rule_files: ['%s']\nglobal:\n  evaluation_interval: 1s\n", rules), 1) +
		fmt.Sprintf("  - job_name: ringside\n    static_configs: [{targets: ['%s'], labels: {cluster: e2e}}]\n", strings.Join(sidecars, "', '"))
}

// rule is a rule of a group, as Prometheus says how it is.
type rule struct {
	Type, Name, Query, Health, LastError, State string
}

// rules are those that the Prometheus at url has loaded.
func (m *mixed) rules(url string) ([]rule, error) {
	var answer struct{ Groups []struct{ Rules []rule } }
	if err := m.fetchData(url+"/api/v1/rules", &answer); err != nil {
		return nil, err
	}
	var all []rule
	for _, g := range answer.Groups {
		all = append(all, g.Rules...)
	}
	return all, nil
}

// fetchData unpacks the data of an answer in Prometheus's envelope. Warnings and
// remarks to a query are errors.
func (m *mixed) fetchData(url string, data any) error {
	body, err := fetch(m.Context(), m.Pairs[0].client, url)
	if err != nil {
		return err
	}
	var envelope struct {
		Data            json.RawMessage
		Warnings, Infos []string
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if said := slices.Concat(envelope.Warnings, envelope.Infos); len(said) > 0 {
		return fmt.Errorf("%s: %v", url, said)
	}
	return json.Unmarshal(envelope.Data, data)
}

// evaluated returns an error unless the rules are there and have been evaluated,
// all of them without an error.
func (m *mixed) evaluated(url string) error {
	rules, err := m.rules(url)
	if err != nil {
		return err
	}
	if len(rules) == 0 {
		return fmt.Errorf("%s has no rules", url)
	}
	for _, r := range rules {
		if r.Health != "ok" {
			return fmt.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
	return nil
}

// recorded returns an error unless every recording rule has made a series with a
// value.
func (m *mixed) recorded(url string) error {
	rules, err := m.rules(url)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Type != "recording" {
			continue
		}
		if err := m.draws(url, r.Name, false); err != nil {
			return err
		}
	}
	return nil
}

// watched returns an error unless there is a series for each selector of each
// alert: a metric, a label or a value that does not exist would never alert.
func (m *mixed) watched(url string) error {
	rules, err := m.rules(url)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Type != "alerting" {
			continue
		}
		for _, s := range m.selectors(r.Query) {
			found, err := ask(m.Context(), url, s, time.Now().UnixMilli(), true)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if len(found) == 0 && !otherDiscoveries.MatchString(s) {
				return fmt.Errorf("%s looks at %s, of which there is none", r.Name, s)
			}
		}
	}
	return nil
}

// otherDiscoveries are metrics that sidecars have only with discoveries that this fleet
// does not use. That they are named so is tested in examples/mixin.
var otherDiscoveries = regexp.MustCompile(`ringside_prometheus_sd_(refresh|kuma_fetch)_failures_total`)

// selectors are the series selectors in a query.
func (m *mixed) selectors(query string) []string {
	m.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		m.Fatalf("%s: %v", query, err)
	}
	var found []string
	for _, selectors := range parser.ExtractSelectors(expr) {
		var matchers []string
		for _, matcher := range selectors {
			matchers = append(matchers, matcher.String())
		}
		found = append(found, "{"+strings.Join(matchers, ",")+"}")
	}
	return found
}

// active are the names of the alerts that are pending or firing.
func (m *mixed) active(url string) ([]string, error) {
	rules, err := m.rules(url)
	var names []string
	for _, r := range rules {
		if r.Type == "alerting" && r.State != "inactive" {
			names = append(names, r.Name)
		}
	}
	return names, err
}
