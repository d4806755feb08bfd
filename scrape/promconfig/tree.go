package promconfig

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds a document after its aliases are expanded. Prometheus's own
// parser gives up on excessive aliasing at about 400,000.
const maxNodes = 1 << 20

// document is one YAML file as a tree without aliases.
type document struct {
	path string     // as the user wrote it, for messages
	doc  *yaml.Node // the document node, for its comments
	root *yaml.Node // its mapping; empty for an empty file
	null bool       // nothing is in it
}

// parseDocument reads the first document of text, as Prometheus does, and puts
// a copy of its anchor in the place of every alias. Merge keys stay, with the
// merged mapping in line: Prometheus's parser merges deeper than YAML says, and
// so goes on doing it.
func parseDocument(path string, text []byte) (*document, error) {
	d := &document{path: path, doc: &yaml.Node{}}
	if err := yaml.Unmarshal(text, d.doc); err != nil {
		return nil, notYAML(path, text, err)
	}
	if d.doc.Kind == 0 { // not even a null: white space and comments
		d.doc = &yaml.Node{Kind: yaml.DocumentNode, HeadComment: onlyComments(text), Content: []*yaml.Node{{}}}
	}
	d.root = d.doc.Content[0]
	if d.null = d.root.Kind == 0 || isNull(d.root); d.null {
		become(d.root, yaml.MappingNode)
	}
	x := expander{open: map[*yaml.Node]bool{}}
	if err := x.expand(d.doc); err != nil {
		return nil, locate(path, nil, err)
	}
	unflow(d.doc)
	return d, nil
}

func onlyComments(text []byte) string {
	var kept []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// expander replaces aliases in place. Anchors come before their aliases, so
// what an alias names has been expanded already, unless it contains the alias.
type expander struct {
	open  map[*yaml.Node]bool // on the way from the root to here
	nodes int
}

func (x *expander) expand(n *yaml.Node) error {
	x.open[n] = true
	defer delete(x.open, n)
	x.nodes++
	for i, child := range n.Content {
		if isMerge(child) && child.Style == 0 {
			child.Tag = "" // or some versions of the encoder write !!merge
		}
		if child.Kind == yaml.AliasNode {
			if x.open[child.Alias] {
				return fmt.Errorf("line %d: anchor %q contains itself", child.Line, child.Value)
			}
			replica, err := x.clone(child.Alias)
			if err != nil {
				return err
			}
			replica.LineComment = child.LineComment
			n.Content[i] = replica
		} else if err := x.expand(child); err != nil {
			return err
		}
	}
	n.Anchor = ""
	return nil
}

// clone copies an expanded tree without its comments, which need no repeating.
func (x *expander) clone(n *yaml.Node) (*yaml.Node, error) {
	if x.nodes++; x.nodes > maxNodes {
		return nil, errors.New("the document is too large once its aliases are expanded")
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	for _, child := range n.Content {
		cc, err := x.clone(child)
		if err != nil {
			return nil, err
		}
		c.Content = append(c.Content, cc)
	}
	return c, nil
}

// unflow gives block style to each flow collection with an empty value inside:
// in flow style the encoder would write ” for it, which is not null. It
// reports whether n is such a value or holds one.
func unflow(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return n.Value == "" && n.Style&^yaml.TaggedStyle == 0
	}
	found := false
	for _, child := range n.Content {
		found = unflow(child) || found
	}
	if found {
		n.Style &^= yaml.FlowStyle
	}
	return found
}

// field is one key of a mapping, its own or merged into it.
type field struct{ owner, key, value *yaml.Node }

// fields lists the keys of a mapping in the order in which Prometheus's parser
// applies them, so that of equal keys the last one counts: what is merged in
// counts where it stands, and of several merged mappings the first counts last.
// It is nil for anything but a mapping.
func fields(m *yaml.Node) []field {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	var fs []field
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		switch {
		case !isMerge(key):
			fs = append(fs, field{m, key, value})
		case value.Kind == yaml.SequenceNode:
			for j := len(value.Content) - 1; j >= 0; j-- {
				fs = append(fs, fields(value.Content[j])...)
			}
		default:
			fs = append(fs, fields(value)...)
		}
	}
	return fs
}

// effective returns the value of a mapping's key that counts, nil for none.
func effective(m *yaml.Node, key string) *yaml.Node {
	var value *yaml.Node
	for _, f := range fields(m) {
		if f.key.Value == key {
			value = f.value
		}
	}
	return value
}

// items returns the elements of a sequence, nil for anything else.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// ensure returns the value that counts of m's key as a collection of that kind,
// making an empty one where there is none, or null.
func ensure(m *yaml.Node, key string, kind yaml.Kind) *yaml.Node {
	m.Style &^= yaml.FlowStyle
	value := effective(m, key)
	if value == nil {
		value = &yaml.Node{}
		m.Content = append(m.Content, str(key), value)
	}
	if value.Kind != kind {
		become(value, kind)
	}
	return value
}

// remove takes a key out of the mapping that owns it.
func (f field) remove() {
	i := slices.Index(f.owner.Content, f.key)
	f.owner.Content = slices.Delete(f.owner.Content, i, i+2)
}

// become makes an empty collection of a null, keeping its comments.
func become(n *yaml.Node, kind yaml.Kind) {
	n.Kind, n.Tag, n.Value, n.Style, n.Content = kind, "", "", 0, nil
}

func str(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

// isMerge relies on every parsed scalar having a tag.
func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (n.Tag == "!!merge" || n.Tag == "")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// encode writes a tree as YAML.
func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// plain takes from a tree all that the encoder can get wrong and that means
// nothing to Prometheus: comments, block scalars, flow style.
func plain(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	n.Style &^= yaml.FlowStyle
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || strings.Contains(n.Value, "\n") {
		n.Style = n.Style&yaml.TaggedStyle | yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		plain(child)
	}
}
