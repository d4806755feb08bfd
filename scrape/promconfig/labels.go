package promconfig

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

const (
	selfPrefix        = "__meta_ringside_"
	nodeLabel         = selfPrefix + "node"
	zoneLabel         = selfPrefix + "zone"
	filepathLabel     = "__meta_filepath" // Prometheus's file_sd sets it
	realFilepathLabel = selfPrefix + "filepath"
)

// reader knows which discovered labels a job's relabel rules can read.
type reader struct{ rules []*relabel.Config }

func newReader(rules []*relabel.Config) reader { return reader{rules} }

// reads is true for any label but a __meta_ label that no rule can read.
func (r reader) reads(name string) bool {
	return !strings.HasPrefix(name, model.MetaLabelPrefix) ||
		slices.ContainsFunc(r.rules, func(rule *relabel.Config) bool { return ruleReads(rule, name) })
}

// ruleReads tells whether the outcome of a rule can depend on a label. A
// labelmap of all __meta_ labels is not meant for this member's own, on which
// members differ: it reads them only when it names them.
func ruleReads(rule *relabel.Config, name string) bool {
	switch rule.Action {
	case relabel.LabelDrop, relabel.LabelKeep:
		return false
	case relabel.LabelMap:
		return rule.Regex.MatchString(name) &&
			(!strings.HasPrefix(name, selfPrefix) || strings.Contains(rule.Regex.String(), "ringside"))
	case relabel.KeepEqual, relabel.DropEqual:
		if rule.TargetLabel == name {
			return true
		}
	}
	return slices.Contains(rule.SourceLabels, model.LabelName(name))
}

// writesAddress tells whether a rule may set __address__.
func writesAddress(rule *relabel.Config) bool {
	switch rule.Action {
	case relabel.Replace, relabel.Lowercase, relabel.Uppercase, relabel.HashMod:
		return rule.TargetLabel == model.AddressLabel || strings.Contains(rule.TargetLabel, "$")
	case relabel.LabelMap:
		return strings.Contains(rule.Replacement, "$") || rule.Replacement == model.AddressLabel
	}
	return false
}
