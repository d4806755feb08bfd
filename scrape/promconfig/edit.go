package promconfig

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
)

const (
	feedbackName = "ringside-feedback"
	relayName    = "ringside-relay"
)

// editor turns the source's tree into the generated one.
type editor struct {
	opt    Options
	source string // absolute
	main   *document
	files  []jobFile
	jobs   []Job
}

// scrapeJob is a job beside the place where it is written.
type scrapeJob struct {
	job  Job
	path string
	node *yaml.Node
}

// scrapeJobs pairs the jobs with their nodes: both are in Prometheus's order.
func (e *editor) scrapeJobs() []scrapeJob {
	all := make([]scrapeJob, 0, len(e.jobs))
	for _, d := range documents(e.main, e.files) {
		for _, node := range items(effective(d.root, "scrape_configs")) {
			if len(all) < len(e.jobs) { // fewer only when a file has changed meanwhile
				all = append(all, scrapeJob{e.jobs[len(all)], d.path, node})
			}
		}
	}
	return all
}

// refuse checks for what the source may not set because it is added here.
func (e *editor) refuse(cfg *config.Config) error {
	global := effective(e.main.root, "global")
	for _, f := range fields(effective(global, "external_labels")) {
		if f.key.Value == e.opt.ReplicaLabel {
			return at(e.main.path, f.key.Line, fmt.Errorf("external_labels sets %s, the replica label, so that all members would be equal; "+
				"take it out, or name another replica_label in ringside.yml", f.key.Value))
		}
	}
	if scheme := cfg.GlobalConfig.MetricNameValidationScheme; !scheme.IsValidLabelName(e.opt.ReplicaLabel) {
		return fmt.Errorf("%s: replica_label %q of ringside.yml is not a label name under metric_name_validation_scheme %s",
			e.main.path, e.opt.ReplicaLabel, scheme)
	}
	for _, item := range items(effective(e.main.root, "remote_write")) {
		if name := effective(item, "name"); name != nil && (name.Value == feedbackName || name.Value == relayName) {
			return at(e.main.path, name.Line, fmt.Errorf("remote_write is named %s, which is Ringside's own; give it another name", name.Value))
		}
	}
	return nil
}

// edit changes the main document into the generated one. dir is the source's.
func (e *editor) edit(dir string) {
	root := e.main.root
	for _, j := range e.scrapeJobs() {
		editJob(j)
	}
	configPaths.join(root, dir)
	e.inline()
	e.addReplicaLabel()
	e.addRemoteWrite()
}

// editJob puts the target file in the place of a job's discovery.
func editJob(j scrapeJob) {
	entry := sequence(mapping("files", sequence(str(j.job.TargetFile))))
	key := str("file_sd_configs")
	put := len(j.node.Content)
	for _, f := range fields(j.node) {
		if !isDiscoveryKey(f.key.Value) {
			continue
		}
		if i := slices.Index(j.node.Content, f.key); i >= 0 {
			put = min(put, i)
			key.HeadComment = comments(key.HeadComment, f.key.HeadComment, f.key.FootComment)
		}
		f.remove()
	}
	j.node.Content = slices.Insert(j.node.Content, min(put, len(j.node.Content)), key, entry)
	if j.job.RestoreFilepath {
		rules := effective(j.node, "relabel_configs")
		rules.Content = slices.Insert(rules.Content, 0,
			mapping("source_labels", sequence(str(realFilepathLabel)), "target_label", str(filepathLabel)),
			mapping("regex", str(realFilepathLabel), "action", str("labeldrop")))
	}
}

// inline moves the jobs of the scrape_config_files behind those of the source,
// and leaves the comments on that key to the next one.
func (e *editor) inline() {
	for _, f := range fields(e.main.root) {
		if f.key.Value != "scrape_config_files" {
			continue
		}
		heir := &e.main.doc.FootComment
		if next := slices.Index(f.owner.Content, f.key) + 2; next < len(f.owner.Content) {
			heir = &f.owner.Content[next].HeadComment
		}
		*heir = comments(f.key.HeadComment, f.key.FootComment, *heir)
		f.remove()
	}
	for _, file := range e.files {
		from := items(effective(file.root, "scrape_configs"))
		if len(from) == 0 {
			continue
		}
		jobs := ensure(e.main.root, "scrape_configs", yaml.SequenceNode)
		jobs.Style &^= yaml.FlowStyle
		for _, job := range from {
			jobPaths.join(job, filepath.Dir(file.path))
		}
		from[0].HeadComment = comments("# "+oneLine("from "+file.path), file.root.Content[0].HeadComment, from[0].HeadComment)
		jobs.Content = append(jobs.Content, from...)
	}
}

// addReplicaLabel adds the member's label, and takes it from alerts again, so
// that Alertmanager sees one alert where several members send it. The rule comes
// first so that the user's own rules find what they found before.
func (e *editor) addReplicaLabel() {
	external := ensure(ensure(e.main.root, "global", yaml.MappingNode), "external_labels", yaml.MappingNode)
	value := strings.ReplaceAll(e.opt.Replica, "$", "$$") // Prometheus expands variables
	external.Content = append(external.Content, str(e.opt.ReplicaLabel), str(value))

	alerting := effective(e.main.root, "alerting")
	if len(items(effective(alerting, "alertmanagers"))) == 0 {
		return
	}
	rules := ensure(alerting, "alert_relabel_configs", yaml.SequenceNode)
	drop := mapping("regex", str(regexp.QuoteMeta(e.opt.ReplicaLabel)), "action", str("labeldrop"))
	rules.Content = slices.Insert(rules.Content, 0, drop)
}

// addRemoteWrite adds the entries that lead to this program, behind the user's.
// The feedback is worthless late: it is sent at once, and what has waited five
// minutes is dropped.
func (e *editor) addRemoteWrite() {
	entries := ensure(e.main.root, "remote_write", yaml.SequenceNode)
	entries.Style &^= yaml.FlowStyle
	entries.Content = append(entries.Content, mapping(
		"name", str(feedbackName),
		"url", str(e.opt.FeedbackURL),
		"remote_timeout", str("5s"),
		"write_relabel_configs", sequence(mapping(
			"source_labels", sequence(str("__name__")),
			"regex", str("up|scrape_samples_post_metric_relabeling"),
			"action", str("keep"),
		)),
		"queue_config", mapping(
			"capacity", number("2000"),
			"max_samples_per_send", number("1000"),
			"min_shards", number("1"),
			"max_shards", number("1"),
			"batch_send_deadline", str("200ms"),
			"max_backoff", str("1s"),
			"sample_age_limit", str("5m"),
		),
		"metadata_config", mapping("send", boolean("false")),
	))
	if e.opt.RelayURL != "" {
		entries.Content = append(entries.Content, e.relayEntry())
	}
}

// relayEntry sends all that there is to the relay. The time-out must exceed the
// 25 s within which the relay answers; without retry_on_http_429 Prometheus
// would drop what an upstream asks to be sent later. In remote_write 2.0,
// Prometheus 3.15 sends exemplars as series without samples, and refuses those
// as a receiver: they are left out.
func (e *editor) relayEntry() *yaml.Node {
	entry := mapping(
		"name", str(relayName),
		"url", str(e.opt.RelayURL),
		"remote_timeout", str("30s"),
		"send_native_histograms", boolean("true"),
	)
	if e.opt.RelayMessage == "" {
		entry.Content = append(entry.Content, str("send_exemplars"), boolean("true"))
	} else {
		entry.Content = append(entry.Content, str("protobuf_message"), str(e.opt.RelayMessage))
	}
	entry.Content = append(entry.Content, str("queue_config"), mapping("retry_on_http_429", boolean("true")))
	return entry
}

// comments puts comments below each other.
func comments(blocks ...string) string {
	return strings.Join(slices.DeleteFunc(blocks, func(block string) bool { return block == "" }), "\n")
}

// mapping builds a mapping from keys, which are strings, and values, which are nodes.
func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		m.Content = append(m.Content, str(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return m
}

func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: items}
}

func boolean(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: value}
}

func number(digits string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: digits}
}

// oneLine keeps a name from ending a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s)
}
