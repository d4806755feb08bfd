package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dashboard is what is looked at of a Grafana dashboard.
type dashboard struct {
	Title      string
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name, Type, Definition, AllValue string
}

type panel struct {
	Type, Title string
	Targets     []struct {
		Expr    string
		Instant bool
	}
}

// dashboards are those of the mixin.
func (m *mixed) dashboards() []dashboard {
	m.Helper()
	files, err := filepath.Glob(filepath.Join(mixin, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		m.Fatalf("dashboards: %v %v", files, err)
	}
	all := make([]dashboard, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &all[i])
		}
		if err != nil {
			m.Fatalf("%s: %v", file, err)
		}
	}
	return all
}

// drawn are the panels that show queries.
func (d *dashboard) drawn() []panel {
	var drawn []panel
	for _, p := range d.Panels {
		if p.Type != "row" {
			drawn = append(drawn, p)
		}
	}
	return drawn
}

func (d *dashboard) queries() int {
	n := 0
	for _, p := range d.Panels {
		n += len(p.Targets)
	}
	return n
}

// shows returns an error unless every query of the dashboard gives a value, with
// All chosen for every variable, and with every value that there is.
func (m *mixed) shows(server string, d dashboard) error {
	all := map[string]string{}
	for _, v := range d.Templating.List {
		all[v.Name] = v.AllValue
	}
	chosen := map[string]string{}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var err error
		if chosen[v.Name], err = m.choose(server, fill(v.Definition, all)); err != nil {
			return fmt.Errorf("variable %s: %w", v.Name, err)
		}
	}
	for _, p := range d.drawn() {
		for _, target := range p.Targets {
			for _, values := range []map[string]string{all, chosen} {
				if err := m.draws(server, fill(target.Expr, values), !target.Instant); err != nil && !otherDiscoveries.MatchString(target.Expr) {
					return fmt.Errorf("panel %q: %w", p.Title, err)
				}
			}
		}
	}
	return nil
}

var (
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	reference   = regexp.MustCompile(`\$\{?\w+\}?`)
)

// choose answers a variable's query and puts the values together as Grafana does
// where several are chosen. One that has none is an error.
func (m *mixed) choose(server, definition string) (string, error) {
	parts := labelValues.FindStringSubmatch(definition)
	if parts == nil {
		return "", fmt.Errorf("not a query for values of a label: %s", definition)
	}
	var values []string
	err := m.fetchData(server+"/api/v1/label/"+parts[2]+"/values?"+url.Values{"match[]": {parts[1]}}.Encode(), &values)
	if err != nil {
		return "", err
	}
	if len(values) == 0 {
		return "", fmt.Errorf("%s has no values", definition)
	}
	for i, v := range values {
		values[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`)
	}
	return "(" + strings.Join(values, "|") + ")", nil
}

// fill puts values in place of variables as Grafana does, its own included.
func fill(text string, values map[string]string) string {
	return reference.ReplaceAllStringFunc(text, func(ref string) string {
		switch name := strings.Trim(ref, "${}"); name {
		case "__rate_interval":
			return (4 * interval).String() // Grafana's for short times
		case "__interval":
			return interval.String()
		default:
			if value, ok := values[name]; ok {
				return value
			}
			return ref // which does not parse
		}
	})
}

// draws returns an error unless a query, of now or of the whole time of the rig,
// gives a number.
func (m *mixed) draws(server, query string, ranged bool) error {
	now := time.Now()
	path, params := "/api/v1/query?", url.Values{"query": {query}, "time": {seconds(now)}}
	if ranged {
		path = "/api/v1/query_range?"
		params = url.Values{"query": {query}, "start": {seconds(m.started)}, "end": {seconds(now)}, "step": {interval.String()}}
	}
	var answer struct{ Result []queried }
	if err := m.fetchData(server+path+params.Encode(), &answer); err != nil {
		return err
	}
	for _, series := range answer.Result {
		if !ranged {
			series.Values = []queriedSample{series.Value}
		}
		for _, sample := range series.Values {
			if value, err := sample.float(); err != nil {
				return err
			} else if !math.IsNaN(value) {
				return nil
			}
		}
	}
	return errors.New("no data: " + query)
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}
