package yamlfile_test

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

type secret string

type shared struct {
	Token secret            `yaml:"token"`
	Rest  map[string]header `yaml:",inline"`
}

type header struct {
	Values []string `yaml:"values"`
}

type link struct {
	Target string `yaml:"-"`
}

type whole struct {
	Name   string         `yaml:"name"`
	Jobs   []*job         `yaml:"jobs,omitempty"`
	Labels map[string]int `yaml:"labels"`
	Shared *shared        `yaml:"shared"`
	Link   link           `yaml:"link"`
	Hidden int            `yaml:"-"`
	job    `yaml:",inline"`
}

type job struct {
	Replicas uint8 `yaml:"replicas"`
	Always   bool  `yaml:"always"`
}

func TestAt(t *testing.T) {
	for path, want := range map[string]string{
		"": "yamlfile_test.whole", "name": "string", "replicas": "uint8", "jobs": "[]*yamlfile_test.job", "jobs[3]": "*yamlfile_test.job",
		"jobs[0].always": "bool", "jobs[0].<<.always": "bool", "labels.any": "int", "shared.token": "yamlfile_test.secret",
		"shared.X-Key.values[0]": "string", "hidden": "", "name.first": "", "jobs.always": "", "name[0]": "", "link.target": "", "nosuch": "",
	} {
		got := ""
		if of := yamlfile.At(reflect.TypeFor[whole](), path); of != nil {
			got = of.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := strings.Join(yamlfile.Fields(reflect.TypeFor[*whole]()), " "); got != "name jobs labels shared link replicas always" {
		t.Errorf("fields: %s", got)
	}
}

// TestExpected has the types that a decoder names in its errors at each place.
func TestExpected(t *testing.T) {
	for _, tc := range []struct{ path, goType, want string }{
		{"replicas", "uint8", "a whole number"},
		{"always", "bool", "true or false"},
		{"nosuch", "float64", "a number"},
		{"name", "string", "a text"},
		{"shared.token", "config.plain", "a text"},
		{"link", "config.URL", "a text"},
		{"jobs", "[]*yamlfile_test.job", "a list, such as [a, b]"},
		{"jobs", "config.plain", "a list, such as [a, b]"},
		{"jobs[0]", "config.plain", "fields below it, each as name: value"},
		{"shared", "yamlfile_test.shared", "fields below it, each as name: value"},
		{"labels", "model.LabelSet", "fields below it, each as name: value"},
		{"nosuch", "map[string]string", "fields below it, each as name: value"},
		{"nosuch", "kubernetes.plain", "fields below it, each as name: value"},
		{"nosuch", "kubernetes.Role", "a text"},
	} {
		if got := yamlfile.Expected(yamlfile.At(reflect.TypeFor[whole](), tc.path), tc.goType); got != tc.want {
			t.Errorf("%s, %s: %s, want %s", tc.path, tc.goType, got, tc.want)
		}
	}
}

func TestFound(t *testing.T) {
	for _, tc := range []struct{ tag, value, want string }{
		{"!!str", "x", `the text "x"`},
		{"!!str", "", "a text"},
		{"!!int", "3", `the number "3"`},
		{"!!float", "", "a number"},
		{"!!bool", "", "a boolean"},
		{"!!timestamp", "", "a date"},
		{"!!null", "", "nothing"},
		{"!!seq", "", "a list"},
		{"!!map", "", "fields"},
	} {
		if got := yamlfile.Found(tc.tag, tc.value); got != tc.want {
			t.Errorf("%s %q: %s, want %s", tc.tag, tc.value, got, tc.want)
		}
	}
}

func TestCulprits(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"{a: 1, b: {c: [1, bad, {d: bad}]}}", "b.c[1] b.c[2].d"},
		{"[bad, bad]", "[0] [1]"},
		{"bad", ""},
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(tc.text), &doc); err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, p := range yamlfile.Culprits(doc.Content[0], func(n *yaml.Node) bool {
			text, err := yaml.Marshal(n)
			return err == nil && strings.Contains(string(text), "bad")
		}) {
			paths = append(paths, p.Path)
		}
		if got := strings.Join(paths, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.text, got, tc.want)
		}
	}
}

func TestSyntax(t *testing.T) {
	const tabs = "; indent with spaces, YAML takes no tabs"
	for _, tc := range []struct {
		text string
		line int
		want string
	}{
		{"\ta: b", 1, tabs},
		{"a:\n\t- b\n", 2, tabs},
		{"a:\n  b: c\n\td: e\n", 3, tabs},
		{"a: b: c", 1, "mapping values are not allowed"},
		{"a: *planted", 0, "a value begins with *, which refers to an anchor that is not there; put it in quotes"},
		{"a: \x00", 0, "control characters are not allowed"},
	} {
		err := yaml.Unmarshal([]byte(tc.text), new(yaml.Node))
		if err == nil {
			t.Fatalf("%q parses", tc.text)
		}
		line, words := yamlfile.Syntax(tc.text, err)
		if line != tc.line || !strings.Contains(words, tc.want) || strings.Contains(words, "planted") {
			t.Errorf("%q: line %d, %s; want %d, %s (%v)", tc.text, line, words, tc.line, tc.want, err)
		}
	}
}
