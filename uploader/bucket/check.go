package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"go.yaml.in/yaml/v3"
)

// provider is one kind of object storage.
type provider struct {
	// open makes a bucket of the provider's own fields, as YAML.
	open func(logger log.Logger, config []byte) (objstore.Bucket, error)
	// offline are fields with which open needs no network and changes nothing.
	// nil: there are no such.
	offline map[string]any
	// reaches tells whether open needs the network with these fields. nil: never.
	reaches func(fields map[string]any) bool
	// defaults are values of fields that the user leaves out, other than the provider's.
	defaults map[string]any
	// fields is the zero value of the provider's own Config. nil: the provider
	// takes unknown fields too.
	fields any
	// required are fields without which it does not work.
	required []string
}

// Check says what Open would refuse, as far as that shows without network, and
// what to write instead. It changes nothing. The error starts with the path of
// the field, and has no part of any value in it.
func (c *Config) Check() error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := c.checkFields(); err != nil {
		return err
	}
	p := linked()[strings.ToUpper(c.Type)]
	if p.offline == nil {
		return nil
	}
	b, err := c.open(log.NewNopLogger(), p.offline)
	if err != nil {
		return err
	}
	return b.Close()
}

// checkFields looks for fields that the provider does not know, that have values of
// another kind, or that are missing.
func (c *Config) checkFields() error {
	p := linked()[strings.ToUpper(c.Type)]
	raw, err := yaml.Marshal(c.Config)
	if err != nil {
		return errors.New("config: it cannot be rendered as YAML")
	}
	if p.fields != nil {
		if err := p.decode(raw); err != nil {
			return newScrubber(c.Config).error(p.explain(c.Config, raw, err))
		}
	}
	for _, name := range p.required {
		if v := c.Config[name]; v == nil || v == "" {
			return fmt.Errorf("config: %s is missing; %s needs %s", name, strings.ToUpper(c.Type), strings.Join(p.required, " and "))
		}
	}
	return nil
}

// decode is strict; v3 takes a few more values for a boolean than the providers' v2.
func (p *provider) decode(raw []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	return dec.Decode(reflect.New(reflect.TypeOf(p.fields)).Interface())
}

var (
	lineFirst    = regexp.MustCompile(`(?s)^line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`(?s)^line (\d+): field (.+) not found in type `)
	wrongType    = regexp.MustCompile(`(?s)^line (\d+): cannot unmarshal (\S+).* into (.+)$`)
)

// firstComplaint matches the first of what YAML's decoders, of v2 too, list.
var firstComplaint = regexp.MustCompile(`(?s)yaml: unmarshal errors:\n  (line (\d+): .*?)(?:\n  line \d+: |$)`)

// explain turns what is said of the fields, rendered as raw, into an error that starts
// with a path, for raw's lines are not the user's. Of many it is the first.
func (p *provider) explain(fields map[string]any, raw []byte, err error) error {
	if err == nil {
		return nil
	}
	listed := firstComplaint.FindStringSubmatch(err.Error())
	if listed == nil {
		at := p.culprit(fields, err)
		if at != "" && strings.Contains(err.Error(), "duration") {
			return fmt.Errorf("config%s: not a duration; write one as 15s, 2m or 1h30m", at)
		}
		return fmt.Errorf("config%s: %w", at, withoutValues(err))
	}
	text, path := listed[1], pathsByLine(raw)[listed[2]]
	if unknownField.MatchString(text) {
		parent := path[:max(0, strings.LastIndexByte(path, '.'))]
		return fmt.Errorf("config.%s: unknown field; known here: %s", path, strings.Join(fieldsAt(reflect.TypeOf(p.fields), parent), ", "))
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		if m[2] == "!!map" || m[2] == "!!seq" { // its line is that of the first thing in it
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
		return fmt.Errorf("config.%s: expected %s", path, expected(m[3]))
	}
	return errors.New("config: " + cut(text))
}

// culprit is the top field, with a dot before it, that decode refuses on its own;
// empty where there is none.
func (p *provider) culprit(fields map[string]any, err error) string {
	if p.fields == nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		raw, unrendered := yaml.Marshal(map[string]any{name: fields[name]})
		if alone := p.decode(raw); unrendered == nil && alone != nil && alone.Error() == err.Error() {
			return "." + name
		}
	}
	return ""
}

// pathsByLine gives the deepest field that starts on each line of a YAML text.
func pathsByLine(raw []byte) map[string]string {
	paths := map[string]string{}
	var doc yaml.Node
	if yaml.Unmarshal(raw, &doc) != nil {
		return paths
	}
	walk(&doc, "", func(path string, key *yaml.Node) { paths[strconv.Itoa(key.Line)] = path })
	return paths
}

// walk visits all fields below n, parents first.
func walk(n *yaml.Node, path string, visit func(path string, key *yaml.Node)) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			walk(c, path, visit)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			visit(below, n.Content[i])
			walk(n.Content[i+1], below, visit)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			below := fmt.Sprintf("%s[%d]", path, i)
			visit(below, c)
			walk(c, below, visit)
		}
	}
}

// fieldsAt lists the YAML fields of the struct at path below t.
func fieldsAt(t reflect.Type, path string) []string {
	step, rest, _ := strings.Cut(path, ".")
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == step && step != "" && t.Field(i).Type.Kind() == reflect.Struct {
			return fieldsAt(t.Field(i).Type, rest)
		}
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// expected says in words what Go's type means to whoever writes the file.
func expected(goType string) string {
	switch {
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a text"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number"
	case strings.HasPrefix(goType, "[]"):
		return "a list, such as [a, b]"
	case strings.HasSuffix(goType, "Duration"):
		return "a duration, such as 15s, 2m or 1h30m"
	}
	return "fields below it, each as name: value"
}

// quoted matches what YAML's decoders quote of a value, with a tag of the user's before it.
var quoted = regexp.MustCompile("(?s)!\\S* `.*?`(?: (into|as))|`.*`|unknown anchor '.*' referenced")

// cut takes values out of what a YAML decoder says: it quotes their beginnings,
// in which no scrubber would know a secret again.
func cut(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(found string) string {
		switch {
		case strings.HasPrefix(found, "unknown anchor"):
			return "a value that begins with * is a reference to an anchor; quote it"
		case strings.HasSuffix(found, " into"):
			return "the value into"
		case strings.HasSuffix(found, " as"):
			return "the value as"
		}
		return "the value"
	})
}

// withoutValues cuts the text of err. errors.Is and As see the original.
func withoutValues(err error) error {
	if text := cut(err.Error()); text != err.Error() {
		return &scrubbedError{text: text, err: err}
	}
	return err
}
