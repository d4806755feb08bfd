package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

// explain turns what the YAML decoder says into errors with a line and a path.
func (d *document) explain(err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		p := d.culprits(func(got error) bool { return got != nil && got.Error() == err.Error() })[0]
		var bad *url.Error // it quotes the URL, with a password that may be in it
		if errors.As(err, &bad) {
			err = fmt.Errorf("not a URL: %w", bad.Err)
		}
		return &located{line: p.Key.Line, err: fmt.Errorf("%s%s%w", before(p.Path), advice(err), err)}
	}
	var out []error
	told := map[string]int{} // how often each has been, for two fields of a line may be told of in the same words
	for _, text := range typed.Errors {
		out = append(out, d.explainType(text, told[text]))
		told[text]++
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

// culprits finds the smallest parts of the tree that on their own make the
// decoder fail in that way; see yamlfile.Culprits.
func (d *document) culprits(fails func(error) bool) []yamlfile.Place {
	return yamlfile.Culprits(d.root, func(n *yaml.Node) bool {
		c := Default
		return fails(n.Decode(&c))
	})
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.+) not found in type `)
	wrongType    = regexp.MustCompile("(?s)^line (\\d+): cannot unmarshal (\\S+)(?: `(.*)`)? into (.+)$")
	otherType    = regexp.MustCompile(`(?s)^line (\d+): (.+)$`)
)

// explainType explains one of the errors of a decoder, of which nth others had
// the same text.
func (d *document) explainType(text string, nth int) error {
	if m := unknownField.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &located{line: line, err: d.unknown(line, m[2])}
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		all := d.culprits(func(got error) bool {
			var typed *yaml.TypeError
			return errors.As(got, &typed) && slices.Contains(typed.Errors, text)
		})
		path := all[min(nth, len(all)-1)].Path
		value := m[3]
		if secret(path) || d.hasSecret(line) {
			value = ""
		}
		return &located{line: line, err: fmt.Errorf("%s%s", before(path), mistyped(path, m[4], yamlfile.Found(m[2], value)))}
	}
	if m := otherType.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &located{line: line, err: errors.New(m[2])}
	}
	return errors.New(text)
}

func before(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// mistyped says what was expected at path, where the decoder wanted its goType,
// and what it found.
func mistyped(path, goType, found string) string {
	return fmt.Sprintf("expected %s, not %s", yamlfile.Expected(yamlfile.At(reflect.TypeFor[Config](), path), goType), found)
}

// secretive matches the fields in which secrets stand.
var secretive = regexp.MustCompile(`http_config|^relay(\.upstreams(\[\d+\](\.(endpoints|hashring|tenant|sigv4).*)?)?)?$|^uploader\.bucket|^tracing`)

// secret tells whether a secret may stand at path.
func secret(path string) bool { return secretive.MatchString(strings.ReplaceAll(path, ".<<", "")) }

// hasSecret tells whether a value on the line may be a secret.
func (d *document) hasSecret(line int) bool {
	found := false
	yamlfile.Walk(d.root, func(p yamlfile.Place) {
		found = found || p.Node.Line == line && len(p.Node.Content) == 0 && secret(p.Path)
	})
	return found
}

// unknown names a field that does not exist, and those that do beside it.
func (d *document) unknown(line int, name string) error {
	var found *yamlfile.Place
	yamlfile.Walk(d.root, func(p yamlfile.Place) {
		if p.Key.Line == line && p.Key.Value == name && yamlfile.At(reflect.TypeFor[Config](), p.Path) == nil {
			found = &p
		}
	})
	if found == nil {
		return fmt.Errorf("unknown field %s", name)
	}
	parent := strings.TrimSuffix(strings.TrimSuffix(found.Path, name), ".")
	known := yamlfile.Fields(yamlfile.At(reflect.TypeFor[Config](), parent))
	return fmt.Errorf("%s: unknown field; known here: %s", found.Path, strings.Join(known, ", "))
}

// fractions refuses numbers of which the decoder would take only the whole part.
func (d *document) fractions() error {
	var all []error
	yamlfile.Walk(d.root, func(p yamlfile.Place) {
		n := p.Node
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var number float64
		if n.ShortTag() != "!!float" || n.Decode(&number) != nil || number == math.Trunc(number) && !math.IsInf(number, 0) {
			return
		}
		if t := yamlfile.At(reflect.TypeFor[Config](), p.Path); t != nil && (t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64) {
			all = append(all, &located{line: p.Key.Line, err: fmt.Errorf("%s: %s", p.Path, mistyped(p.Path, t.Kind().String(), n.Value))})
		}
	})
	return errors.Join(all...)
}
