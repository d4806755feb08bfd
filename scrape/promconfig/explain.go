package promconfig

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/discovery"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

var (
	unknownField = regexp.MustCompile(`(?s)^field (.+?) not found in type `)
	givenTwice   = regexp.MustCompile(`(?s)^(?:field|key) "?(.+?)"? already set in (?:type|map)`)
	wrongType    = regexp.MustCompile("(?s)^cannot unmarshal (\\S+)(?: `(.*)`)? into (.+)$")
)

// wording puts what the YAML parser says of a file into words for whoever wrote
// it. It shows no value: any may be a secret.
type wording struct {
	root *yaml.Node   // of the file
	of   reflect.Type // what the file is parsed into
}

// explain gives the error at a line in other words, with the name of the field;
// what it does not know stays as it is. Of a nil wording too, without the name.
func (w *wording) explain(line int, message string) string {
	if m := unknownField.FindStringSubmatch(message); m != nil {
		path := w.field(line, m[1])
		return fmt.Sprintf("%s: unknown field; %s", path, w.instead(path, m[1]))
	}
	if m := givenTwice.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s: given twice; keep one of the two", w.field(line, m[1]))
	}
	if m := wrongType.FindStringSubmatch(message); m != nil {
		path, t := w.value(line, m)
		if path != "" {
			path += ": "
		}
		return fmt.Sprintf("%sexpected %s, not %s", path, yamlfile.Expected(t, m[3]), yamlfile.Found(m[1], ""))
	}
	return valueIn.ReplaceAllString(message, " into ")
}

// field gives the path of the field of that name on the line, an unknown one if
// there is; the name itself where there is none.
func (w *wording) field(line int, name string) string {
	known, unknown := name, ""
	w.walk(func(p yamlfile.Place) {
		switch {
		case p.Key.Line != line || p.Key == p.Node || p.Key.Value != name:
		case yamlfile.At(w.of, p.Path) == nil:
			unknown = p.Path
		default:
			known = p.Path
		}
	})
	return cmp.Or(unknown, known)
}

// instead tells what could be meant by the unknown field at path: a name that is
// nearly the same, or else any that may stand there.
func (w *wording) instead(path, name string) string {
	var known []string
	if parent := strings.TrimSuffix(strings.TrimSuffix(path, name), "."); w != nil {
		known = yamlfile.Fields(yamlfile.At(w.of, parent))
		if discovers.MatchString(parent) {
			for _, sd := range discovery.RegisteredConfigNames() {
				known = append(known, strings.Replace(sd+sdKeySuffix, "static"+sdKeySuffix, staticKey, 1))
			}
		}
	}
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return distance(k, name) > min(2, len(name)/3) })
	switch {
	case len(near) > 0:
		return "did you mean " + strings.Join(near, " or ") + "?"
	case len(known) > 0:
		return "known here: " + strings.Join(known, ", ")
	}
	return "Prometheus's documentation has those that there are"
}

// discovers matches the paths of what finds targets.
var discovers = regexp.MustCompile(`^(scrape_configs|alerting\.alertmanagers)\[\d+\]$`)

// value gives the path of the one value on the line of which a type error, as
// wrongType has parted it, can be, and what it is parsed into.
func (w *wording) value(line int, m []string) (path string, t reflect.Type) {
	var all []yamlfile.Place
	w.walk(func(p yamlfile.Place) {
		at := p.Node.Line == line && p.Node.ShortTag() == m[1] && (m[2] == "" || shortened(p.Node.Value) == m[2])
		if at && !fits(p.Node, yamlfile.At(w.of, p.Path)) {
			all = append(all, p)
		}
	})
	exact := slices.DeleteFunc(slices.Clone(all), func(p yamlfile.Place) bool {
		t := yamlfile.At(w.of, p.Path)
		return t == nil || strings.TrimLeft(t.String(), "*") != m[3]
	})
	if len(exact) == 1 {
		all = exact
	}
	if len(all) != 1 {
		return "", nil
	}
	return all[0].Path, yamlfile.At(w.of, all[0].Path)
}

// fits tells of a list and of a block whether it is what t takes; false where t is
// not known.
func fits(n *yaml.Node, t reflect.Type) bool {
	if t == nil {
		return false
	}
	isList := t.Kind() == reflect.Slice
	return n.Kind == yaml.SequenceNode && isList || n.Kind == yaml.MappingNode && !isList && (t.Kind() == reflect.Map || len(yamlfile.Fields(t)) > 0)
}

// shortened is a value as the parser's errors have it.
func shortened(value string) string {
	if len(value) > 10 {
		return value[:7] + "..."
	}
	return value
}

func (w *wording) walk(visit func(yamlfile.Place)) {
	if w != nil {
		yamlfile.Walk(w.root, visit)
	}
}

// distance is how many characters have to be added, removed or replaced to make
// a out of b (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0]++
		for j := range len(b) {
			changed := before
			if a[i] != b[j] {
				changed++
			}
			before = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
