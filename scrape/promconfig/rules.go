package promconfig

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

// CheckRules parses rule files, and says with path:line what Prometheus would
// refuse. Experiments in PromQL are let pass: they may be switched on in the
// Prometheus that is to run them.
func CheckRules(files []string) error {
	p := parser.NewParser(parser.Options{
		EnableExperimentalFunctions: true, ExperimentalDurationExpr: true, EnableExtendedRangeSelectors: true, EnableBinopFillModifiers: true,
	})
	var all []error
	for _, file := range files {
		all = append(all, checkRuleFile(file, p))
	}
	return errors.Join(all...)
}

func checkRuleFile(path string, p parser.Parser) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("rule_files: %w; name files that this user may read", err)
	}
	_, errs := rulefmt.Parse(text, false, model.UTF8Validation, p, promslog.NewNopLogger())
	if len(errs) == 0 {
		return nil
	}
	d := &yaml.Node{}
	if err := yaml.Unmarshal(text, d); err != nil {
		return notYAML(path, text, err)
	}
	said := map[string]bool{} // Prometheus parses a file twice
	var all []error
	for _, err := range errs {
		if err = locateRule(path, d.Content[0], err); !said[err.Error()] {
			all = append(all, err)
		}
		said[err.Error()] = true
	}
	return errors.Join(all...)
}

// ruleAt has the places that Prometheus gives a rule's error.
var ruleAt = regexp.MustCompile(`(?s)^(\d+):\d+: (?:\d+:\d+: )?(.*)$`)

func locateRule(path string, root *yaml.Node, err error) error {
	if m := ruleAt.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		if line == 0 { // Prometheus has lost it
			return fmt.Errorf("%s: %s", path, m[2])
		}
		return at(path, line, errors.New(m[2]))
	}
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		w := &wording{root, reflect.TypeFor[rulefmt.RuleGroups]()}
		return locate(path, w, &yamlv2.TypeError{Errors: typed.Errors})
	}
	p := yamlfile.Culprits(root, func(n *yaml.Node) bool {
		alone := n.Decode(new(rulefmt.RuleGroups))
		return alone != nil && alone.Error() == err.Error()
	})[0]
	return at(path, p.Key.Line, fmt.Errorf("%s: %s", p.Path, redacted(err)))
}
