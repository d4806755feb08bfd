package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
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
	var all []error
	for _, e := range joined(err) {
		var l *located
		if !errors.As(e, &l) {
			l = &located{err: e}
		}
		l.path = path
		all = append(all, l)
	}
	return errors.Join(all...)
}

// joined takes apart what errors.Join has put together, however often.
func joined(err error) []error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(many.Unwrap()...).Error() {
		return []error{err}
	}
	var all []error
	for _, e := range many.Unwrap() {
		all = append(all, joined(e)...)
	}
	return all
}

// document is the tree of a YAML file: it knows lines, the decoded Config does not.
type document struct {
	root *yaml.Node // a mapping; nil in an empty file
}

// parse reads the one document of a YAML text.
func parse(text string) (*document, error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var first, second yaml.Node
	err := dec.Decode(&first)
	if err == nil && dec.Decode(&second) == nil {
		return nil, &located{line: second.Line, err: errors.New("a second YAML document starts here; ringside.yml is a single one: remove ---")}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		line, words := yamlfile.Syntax(text, err)
		return nil, &located{line: line, err: fmt.Errorf("not valid YAML: %s", words)}
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

var fieldPath = regexp.MustCompile(`^[a-z_0-9]+(\.[a-z_0-9]+|\[\d+\])*`)

// locate gives a validation error, which starts with the path of a field, that
// field's line; where the field is not in the file, its block's.
func (d *document) locate(err error) error {
	path := fieldPath.FindString(err.Error())
	if path == "" || d.root == nil {
		return err
	}
	at := yamlfile.Place{Node: d.root}
	line := 0
	for found := true; found; {
		found = false
		for _, c := range at.Children() {
			if path == c.Path || strings.HasPrefix(path, c.Path+".") || strings.HasPrefix(path, c.Path+"[") {
				at, line, found = c, c.Key.Line, true
				break
			}
		}
	}
	return &located{line: line, err: err}
}
