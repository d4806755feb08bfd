package promconfig

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/config"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

// lineError is an error at a line of a file.
type lineError struct {
	path string
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.path, e.line, e.err) }

func (e *lineError) Unwrap() error { return e.err }

func at(path string, line int, err error) error { return &lineError{path, line, err} }

var (
	lineOf = regexp.MustCompile(`^(?:yaml: )?line (\d+): (?s:(.*))$`)
	// valueIn is the value, shortened, in a type error of the YAML parser's.
	valueIn = regexp.MustCompile("(?s) `.*` into ")
)

// locate makes path:line of the lines that a YAML parser's error names, and
// leaves out what of the file may be a secret. w is nil where there is no tree.
func locate(path string, w *wording, err error) error {
	var located *lineError
	if errors.As(err, &located) {
		return err
	}
	var several *yamlv2.TypeError
	if !errors.As(err, &several) {
		several = &yamlv2.TypeError{Errors: []string{redacted(err)}}
	}
	all := make([]error, 0, len(several.Errors))
	for _, message := range several.Errors {
		if m := lineOf.FindStringSubmatch(message); m != nil {
			line, _ := strconv.Atoi(m[1])
			all = append(all, at(path, line, errors.New(w.explain(line, m[2]))))
		} else {
			all = append(all, fmt.Errorf("%s: %s", path, strings.TrimPrefix(valueIn.ReplaceAllString(message, " into "), "yaml: ")))
		}
	}
	return errors.Join(all...)
}

// redacted is an error's text, without the URL that was no URL: it may have had
// a password. With a duration that was none comes how to write one.
func redacted(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return "not a valid URL"
	}
	text := valueIn.ReplaceAllString(err.Error(), " into ")
	if strings.Contains(text, "not a valid duration string") {
		text += "; write a duration as 15s, 2m or 1h30m"
	}
	return text
}

// notYAML is the error of a text that is none.
func notYAML(path string, text []byte, err error) error {
	line, words := yamlfile.Syntax(string(text), err)
	if line == 0 {
		return fmt.Errorf("%s: %s", path, words)
	}
	return at(path, line, errors.New(words))
}

// blame finds the place that an error without a line is about, since Prometheus
// does not say: it parses each job by itself, and each of the other entries
// that have much in them. documents begin with the source itself.
func blame(documents []*document, global config.GlobalConfig, err error) error {
	if hasLine(err) {
		return err
	}
	jobs := map[string]string{} // where there is one of the name
	for _, d := range documents {
		for _, item := range items(effective(d.root, "scrape_configs")) {
			name := nameOf(item, "job_name")
			if isNull(item) {
				return at(d.path, item.Line, err)
			}
			if alone := checkJob(item, global); alone != nil {
				return at(d.path, item.Line, fmt.Errorf("job %q: %s", name, redacted(alone)))
			}
			if where, twice := jobs[name]; twice {
				return at(d.path, item.Line, fmt.Errorf("a job named %q is already at %s; rename one of them", name, where))
			}
			jobs[name] = fmt.Sprintf("%s:%d", d.path, item.Line)
		}
		if located := blameOthers(d, global); located != nil {
			return located
		}
	}
	return err
}

func checkJob(item *yaml.Node, global config.GlobalConfig) error {
	var job config.ScrapeConfig
	if err := decodeNode(item, &job); err != nil {
		return err
	}
	return job.Validate(global)
}

func blameOthers(d *document, global config.GlobalConfig) error {
	for _, item := range items(effective(d.root, "remote_write")) {
		var entry config.RemoteWriteConfig
		err := decodeNode(item, &entry)
		if err == nil {
			err = entry.Validate(global.MetricNameValidationScheme)
		}
		if err != nil {
			return at(d.path, item.Line, fmt.Errorf("remote_write: %s", redacted(err)))
		}
	}
	for _, item := range items(effective(d.root, "remote_read")) {
		if err := decodeNode(item, new(config.RemoteReadConfig)); err != nil {
			return at(d.path, item.Line, fmt.Errorf("remote_read: %s", redacted(err)))
		}
	}
	for _, item := range items(effective(effective(d.root, "alerting"), "alertmanagers")) {
		if isNull(item) {
			return at(d.path, item.Line, errors.New("empty or null section in alertmanagers"))
		}
		var entry config.AlertmanagerConfig
		err := decodeNode(item, &entry)
		if err == nil {
			err = entry.Validate(global.MetricNameValidationScheme)
		}
		if err != nil {
			return at(d.path, item.Line, fmt.Errorf("alertmanagers: %s", redacted(err)))
		}
	}
	return nil
}

// blameSource is blame for a source of which nothing has been parsed yet.
func blameSource(d *document, err error) error {
	if hasLine(err) {
		return err
	}
	global := config.DefaultGlobalConfig
	if n := effective(d.root, "global"); n != nil {
		if wrong := decodeNode(n, &global); wrong != nil {
			return at(d.path, n.Line, fmt.Errorf("global: %s", redacted(wrong)))
		}
	}
	return blame([]*document{d}, global, err)
}

func hasLine(err error) bool {
	var several *yamlv2.TypeError
	return errors.As(err, &several) || lineOf.MatchString(err.Error())
}

func nameOf(item *yaml.Node, key string) string {
	if n := effective(item, key); n != nil {
		return n.Value
	}
	return ""
}

// decodeNode reads a part of a document as Prometheus would.
func decodeNode(n *yaml.Node, into any) error {
	text, err := encode(n)
	if err != nil {
		return err
	}
	return yamlv2.UnmarshalStrict(text, into)
}
