package yamlfile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Place is one spot in a YAML file: a field or an element of a list.
type Place struct {
	Path string     // such as relay.upstreams[0].name; empty: the whole
	Key  *yaml.Node // of a field; of all else, Node itself
	Node *yaml.Node // what stands there
}

// Children lists what lies directly below p. Aliases are not followed.
func (p Place) Children() []Place {
	var out []Place
	switch p.Node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(p.Node.Content); i += 2 {
			key := p.Node.Content[i]
			path := key.Value
			if p.Path != "" {
				path = p.Path + "." + path
			}
			out = append(out, Place{path, key, p.Node.Content[i+1]})
		}
	case yaml.SequenceNode:
		for i, n := range p.Node.Content {
			out = append(out, Place{fmt.Sprintf("%s[%d]", p.Path, i), n, n})
		}
	}
	return out
}

// Walk visits all that is below root, parents first; nothing if it is nil.
func Walk(root *yaml.Node, visit func(Place)) {
	var descend func(Place)
	descend = func(p Place) {
		for _, c := range p.Children() {
			visit(c)
			descend(c)
		}
	}
	if root != nil {
		descend(Place{Node: root})
	}
}

// Culprits finds the smallest parts of a tree that on their own, with no more
// around them than leads there, make it fail as the whole does. They are in the
// order of the file; there is one at least, for the whole counts.
func Culprits(root *yaml.Node, fails func(*yaml.Node) bool) []Place {
	return culprits(Place{Key: root, Node: root}, fails)
}

// culprits finds them in p, which fails. fails is given what is to stand in the
// place of p's node.
func culprits(p Place, fails func(*yaml.Node) bool) []Place {
	empty := *p.Node
	empty.Content = nil
	if fails(&empty) {
		return []Place{p} // what is missing is at fault, or the kind of what is there
	}
	var found []Place
	for _, c := range p.Children() {
		alone := func(n *yaml.Node) *yaml.Node {
			only := *p.Node
			only.Content = []*yaml.Node{n}
			if only.Kind == yaml.MappingNode {
				only.Content = []*yaml.Node{c.Key, n}
			}
			return &only
		}
		if fails(alone(c.Node)) {
			found = append(found, culprits(c, func(n *yaml.Node) bool { return fails(alone(n)) })...)
		}
	}
	if len(found) == 0 {
		return []Place{p}
	}
	return found
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// Syntax gives the line of what a decoder said of a text that is not YAML, 0 where
// that is not known, and its words, with what to write instead where that is.
func Syntax(text string, err error) (line int, words string) {
	words = strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(words, "unknown anchor") { // which is quoted, and may be a secret
		return 0, "a value begins with *, which refers to an anchor that is not there; put it in quotes"
	}
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		words = strings.TrimPrefix(err.Error(), m[0])
		line, _ = strconv.Atoi(m[1])
	} else if moved := yaml.Unmarshal([]byte("#\n"+text), new(yaml.Node)); moved != nil && syntaxLine.MatchString(moved.Error()) {
		line = 1 // the one that decoders leave out
	}
	lines := strings.Split(text, "\n")
	for _, l := range []int{line, line + 1} { // some errors have the line before
		if line > 0 && l <= len(lines) && indentedByTab(lines[l-1]) {
			return l, words + "; indent with spaces, YAML takes no tabs"
		}
	}
	return line, words
}

func indentedByTab(line string) bool {
	return strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t")
}
