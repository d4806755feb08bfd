package promconfig

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// warnings says which sharded jobs look as if they were not meant to be.
func warnings(jobs []scrapeJob, opt Options) []string {
	var all []string
	for _, j := range jobs {
		name := j.job.Config.JobName
		if opt.Sharded != nil && !opt.Sharded(name) {
			continue
		}
		rules := j.job.Config.RelabelConfigs
		if n := loopback(j.node); n != nil && !slices.ContainsFunc(rules, writesAddress) {
			all = append(all, fmt.Sprintf("%s:%d: job %q is sharded, but %s is a different server beside every member: "+
				"set scrape.jobs: [{job: %q, everywhere: true}] in ringside.yml, and tell the servers apart by "+
				"relabel_configs: [{source_labels: [%s], target_label: instance}]",
				j.path, n.Line, name, n.Value, name, nodeLabel))
		}
		lines := items(effective(j.node, "relabel_configs"))
		for i, rule := range rules {
			if label := readsSelf(rule); label != "" {
				all = append(all, fmt.Sprintf("%s:%d: job %q is sharded, but this rule reads %s: members would not agree on its "+
					"targets' labels; drop the rule, or set scrape.jobs: [{job: %q, everywhere: true}] in ringside.yml",
					j.path, lines[i].Line, name, label, name))
			}
			if selects(rules[:i], rule) {
				all = append(all, fmt.Sprintf("%s:%d: job %q is sharded, and this rule selects targets by hashmod, too: every member "+
					"selects the same, and nobody scrapes the others; drop this rule and the hashmod",
					j.path, lines[i].Line, name))
			}
		}
	}
	return all
}

// readsSelf returns a label of this member's own that the rule reads, or "".
func readsSelf(rule *relabel.Config) string {
	for _, name := range rule.SourceLabels {
		if strings.HasPrefix(string(name), selfPrefix) && ruleReads(rule, string(name)) {
			return string(name)
		}
	}
	for _, name := range []string{nodeLabel, zoneLabel} {
		if ruleReads(rule, name) {
			return name
		}
	}
	return ""
}

// selects tells whether rule keeps or drops targets by what an earlier one
// wrote with hashmod.
func selects(earlier []*relabel.Config, rule *relabel.Config) bool {
	if rule.Action != relabel.Keep && rule.Action != relabel.Drop {
		return false
	}
	return slices.ContainsFunc(earlier, func(r *relabel.Config) bool {
		return r.Action == relabel.HashMod && ruleReads(rule, r.TargetLabel)
	})
}

// loopback returns the first static target of a job on a loopback address.
func loopback(job *yaml.Node) *yaml.Node {
	for _, group := range items(effective(job, staticKey)) {
		for _, target := range items(effective(group, "targets")) {
			if IsLoopback(target.Value) {
				return target
			}
		}
	}
	return nil
}

// IsLoopback tells whether a target's address, with or without a port, means
// the machine, or the pod, that scrapes it.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
