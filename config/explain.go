package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// explain turns what the YAML decoder says into errors with a line and a path.
func (d *document) explain(err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		p := d.culprit(err)
		var bad *url.Error // it quotes the URL, with a password that may be in it
		if errors.As(err, &bad) {
			err = fmt.Errorf("not a URL: %w", bad.Err)
		}
		return &located{line: p.key.Line, err: fmt.Errorf("%s: %s%w", p.path, advice(err), err)}
	}
	var out []error
	for _, text := range typed.Errors {
		out = append(out, d.explainType(text))
	}
	return errors.Join(out...)
}

// advice says how to write what a decoder without any sense of the file refused.
func advice(err error) string {
	if strings.Contains(err.Error(), "duration") {
		return "write a duration as 15s, 2m or 1h30m: "
	}
	return ""
}

// culprit finds the smallest part of the tree that on its own makes the decoder fail as it did.
func (d *document) culprit(err error) place {
	fails := func(n *yaml.Node) bool {
		c := Default
		got := n.Decode(&c)
		return got != nil && got.Error() == err.Error()
	}
	found := place{key: d.root, node: d.root}
	wrap := func(n *yaml.Node) *yaml.Node { return n }
	for narrower := true; narrower; {
		narrower = false
		empty := *found.node
		empty.Content = nil
		if fails(wrap(&empty)) {
			break // what is missing is at fault, not what is there
		}
		for _, c := range found.children() {
			only := *found.node
			only.Content = []*yaml.Node{c.node}
			if only.Kind == yaml.MappingNode {
				only.Content = []*yaml.Node{c.key, c.node}
			}
			if outer := wrap; fails(outer(&only)) {
				wrap = func(n *yaml.Node) *yaml.Node {
					inner := only
					inner.Content = append(append([]*yaml.Node(nil), only.Content[:len(only.Content)-1]...), n)
					return outer(&inner)
				}
				found, narrower = c, true
				break
			}
		}
	}
	return found
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.+) not found in type `)
	wrongType    = regexp.MustCompile("(?s)^line (\\d+): cannot unmarshal (\\S+)(?: `(.*)`)? into (.+)$")
	otherType    = regexp.MustCompile(`(?s)^line (\d+): (.+)$`)
)

// kinds says in words what the value at fault is.
var kinds = map[string]string{
	"!!map": "fields", "!!seq": "a list", "!!str": "the text", "!!int": "the number", "!!float": "the number", "!!bool": "the boolean",
}

func (d *document) explainType(text string) error {
	if m := unknownField.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &located{line: line, err: d.unknown(line, m[2])}
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		what := cmp.Or(kinds[m[2]], m[2])
		path := d.pathAt(line)
		if m[3] != "" && !secretive.MatchString(path) {
			what += " " + strconv.Quote(m[3])
		}
		return &located{line: line, err: fmt.Errorf("%sexpected %s, not %s", path, expected(m[4]), what)}
	}
	if m := otherType.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &located{line: line, err: errors.New(m[2])}
	}
	return errors.New(text)
}

// secretive matches the fields in which secrets stand.
var secretive = regexp.MustCompile(`http_config|^relay\.upstreams\[\d+\]\.(endpoints|hashring|tenant|sigv4)|^uploader\.bucket|^tracing`)

// ownStruct matches Go's names of the parts' blocks.
var ownStruct = regexp.MustCompile(`^(gossip|scrape|relay|upstream|uploader|bucket|sigv4|relabel)\.[A-Z]`)

// expected says in words what Go's type means to whoever writes the file.
func expected(goType string) string {
	switch {
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "[]"):
		return "a list, such as [a, b]"
	case strings.HasPrefix(goType, "map"), strings.HasSuffix(goType, "plain"), ownStruct.MatchString(goType):
		return "fields below it, each as name: value"
	}
	return "a text"
}

// pathAt names the deepest field that starts on the line, with a colon; empty where there is none.
func (d *document) pathAt(line int) string {
	path := ""
	d.walk(func(p place) {
		if p.key.Line == line {
			path = p.path + ": "
		}
	})
	return path
}

// unknown names a field that does not exist, and those that do beside it.
func (d *document) unknown(line int, name string) error {
	var found *place
	d.walk(func(p place) {
		if found == nil && p.key.Line == line && p.key.Value == name {
			found = &p
		}
	})
	if found == nil {
		return fmt.Errorf("unknown field %s", name)
	}
	parent := strings.TrimSuffix(strings.TrimSuffix(found.path, name), ".")
	return fmt.Errorf("%s: unknown field; known here: %s", found.path, strings.Join(fieldsAt(reflect.TypeFor[Config](), parent), ", "))
}

var index = regexp.MustCompile(`\[\d+\]`)

// fieldsAt lists the YAML names of the fields of what lies at path below t.
func fieldsAt(t reflect.Type, path string) []string {
	names, types := fields(t)
	for _, step := range strings.FieldsFunc(index.ReplaceAllString(path, ""), func(r rune) bool { return r == '.' }) {
		i := slices.Index(names, step)
		if i < 0 {
			return nil
		}
		names, types = fields(types[i])
	}
	return names
}

// fields lists the YAML fields of a struct, or of what a pointer or a list
// holds, inlined ones included.
func fields(t reflect.Type) (names []string, types []reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, nil
	}
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		switch {
		case opts == "inline":
			n, ts := fields(t.Field(i).Type)
			names, types = append(names, n...), append(types, ts...)
		case name != "" && name != "-":
			names, types = append(names, name), append(types, t.Field(i).Type)
		}
	}
	return names, types
}
