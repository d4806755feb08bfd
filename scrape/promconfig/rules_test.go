package promconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

func TestCheckRules(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"good":            {"groups:\n  - name: g\n    rules: [{record: a, expr: sum(up)}]\n", ""},
		"empty":           {"", ""},
		"an expression":   {"groups:\n  - name: g\n    rules:\n      - {record: a, expr: 'sum('}\n", `@:4: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis`},
		"a field":         {"groups:\n  - name: g\n    ruls: []\n", "@:3: groups[0].ruls: unknown field; did you mean rules?"},
		"a type":          {"groups:\n  - name: g\n    labels: 3\n", "@:3: groups[0].labels: expected fields below it, each as name: value, not a number"},
		"a duration":      {"groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: up\n        for: soon\n", `@:6: groups[0].rules[0].for: not a valid duration string: "soon"; write a duration as 15s, 2m or 1h30m`},
		"a tab":           {"groups:\n  - name: g\n\trules: []\n", "@:3: found a tab character that violates indentation; indent with spaces, YAML takes no tabs"},
		"a group's name":  {"groups:\n  - name: g\n  - name: g\n", `@: groupname: "g" is repeated in the same file`},
		"two of one rule": {"groups:\n  - name: g\n    rules:\n      - {record: a, alert: b, expr: up}\n", "@:4: "},
	} {
		path := filepath.Join(t.TempDir(), "rules.yml")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := promconfig.CheckRules([]string{path})
		if want := strings.ReplaceAll(tc.want, "@", path); (err != nil) != (want != "") || err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: got  %v\nwant %s", name, err, want)
		}
	}
	if err := promconfig.CheckRules([]string{"nosuch.yml"}); err == nil || !strings.HasPrefix(err.Error(), "rule_files: open nosuch.yml: ") {
		t.Errorf("a file that is gone: %v", err)
	}
}
