package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// located is an error with its place in a file; line 0 means that there is none.
type located struct {
	path string
	line int
	err  error
}

func (l *located) Error() string {
	if l.line == 0 {
		return fmt.Sprintf("%s: %v", l.path, l.err)
	}
	return fmt.Sprintf("%s:%d: %v", l.path, l.line, l.err)
}

func (l *located) Unwrap() error { return l.err }

// at fills in the file's path, in each of several errors too.
func at(path string, err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, at(path, e))
		}
		return errors.Join(out...)
	}
	var l *located
	if !errors.As(err, &l) {
		l = &located{err: err}
	}
	l.path = path
	return l
}

// document is the tree of a YAML file: it knows lines, the decoded Config does not.
type document struct {
	root *yaml.Node // a mapping; nil in an empty file
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// parse reads the one document of a YAML text.
func parse(text string) (*document, error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var first, second yaml.Node
	err := dec.Decode(&first)
	if err == nil && dec.Decode(&second) == nil {
		return nil, &located{line: second.Line, err: errors.New("a second YAML document starts here; ringside.yml is a single one: remove ---")}
	}
	if m := syntaxLine.FindStringSubmatch(fmt.Sprint(err)); m != nil {
		line, _ := strconv.Atoi(m[1])
		hint := ""
		if lines := strings.Split(text, "\n"); line <= len(lines) && (indentedByTab(lines[line-1]) || (line < len(lines) && indentedByTab(lines[line]))) {
			hint = "; indent with spaces, YAML takes no tabs"
		}
		return nil, &located{line: line, err: fmt.Errorf("not valid YAML: %s%s", strings.TrimPrefix(err.Error(), m[0]), hint)}
	}
	if err != nil && strings.Contains(err.Error(), "unknown anchor") { // it has no line, and quotes what may be a secret
		return nil, &located{err: errors.New("not valid YAML: a value begins with *, which refers to an anchor that is not there; put it in quotes")}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &located{err: fmt.Errorf("not valid YAML: %w", err)}
	}
	if len(first.Content) == 0 || first.Content[0].ShortTag() == "!!null" {
		return &document{}, nil
	}
	root := first.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &located{line: root.Line, err: errors.New("expected fields, each as name: value, such as cluster and prometheus")}
	}
	return &document{root: root}, nil
}

func indentedByTab(line string) bool {
	return strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t")
}

// place is one spot in the tree.
type place struct {
	path string // such as relay.upstreams[0].name
	key  *yaml.Node
	node *yaml.Node
}

// children lists what lies directly below p.
func (p place) children() []place {
	var out []place
	switch p.node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(p.node.Content); i += 2 {
			key := p.node.Content[i]
			path := key.Value
			if p.path != "" {
				path = p.path + "." + path
			}
			out = append(out, place{path, key, p.node.Content[i+1]})
		}
	case yaml.SequenceNode:
		for i, n := range p.node.Content {
			out = append(out, place{fmt.Sprintf("%s[%d]", p.path, i), n, n})
		}
	}
	return out
}

var fieldPath = regexp.MustCompile(`^[a-z_0-9]+(\.[a-z_0-9]+|\[\d+\])*`)

// locate gives a validation error, which starts with the path of a field, that
// field's line; where the field is not in the file, its block's.
func (d *document) locate(err error) error {
	path := fieldPath.FindString(err.Error())
	if path == "" || d.root == nil {
		return err
	}
	at := place{node: d.root}
	line := 0
	for found := true; found; {
		found = false
		for _, c := range at.children() {
			if path == c.path || strings.HasPrefix(path, c.path+".") || strings.HasPrefix(path, c.path+"[") {
				at, line, found = c, c.key.Line, true
				break
			}
		}
	}
	return &located{line: line, err: err}
}

// walk visits the whole tree, parents first.
func (d *document) walk(visit func(place)) {
	var descend func(place)
	descend = func(p place) {
		for _, c := range p.children() {
			visit(c)
			descend(c)
		}
	}
	if d.root != nil {
		descend(place{node: d.root})
	}
}
