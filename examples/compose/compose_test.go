// Package compose tests the files of this directory, as far as that takes no
// Docker. `make e2e-compose` runs them.
package compose

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// released is the newest release of the changelog, and before the first one the
// one that the Makefile is on the way to.
func released(t *testing.T) string {
	t.Helper()
	if m := regexp.MustCompile(`(?m)^## v?(\d+\.\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(root, "CHANGELOG.md"))); m != nil {
		return "v" + m[1]
	}
	m := regexp.MustCompile(`(?m)^VERSION .*\b(\d+\.\d+\.\d+)-dev\b`).FindStringSubmatch(read(t, filepath.Join(root, "Makefile")))
	if m == nil {
		t.Fatal("neither the changelog nor the Makefile names a version")
	}
	return "v" + m[1]
}

// pinned finds where a release is named that somebody is to fetch.
var pinned = []*regexp.Regexp{
	regexp.MustCompile(`ringside-project/[a-z]+:([\w.-]+)`), // an image
	regexp.MustCompile(`ringside-project/[a-z]+\n +newTag: *(\S+)`),
	regexp.MustCompile(`ringside-project/\S+\?ref=([\w.-]+)`),
	regexp.MustCompile(`--branch[= ]([\w.-]+) \S*ringside-project/`),
}

// What the manifests, the Compose file and the documents fetch is one release,
// which there is.
func TestOneRelease(t *testing.T) {
	want, found := released(t), map[string]int{}
	check := func(path string) {
		for _, pattern := range pinned {
			for _, m := range pattern.FindAllStringSubmatch(read(t, path), -1) {
				if found[filepath.Base(path)]++; m[1] != want {
					t.Errorf("%s: %q is not the release %s", path, m[0], want)
				}
			}
		}
	}
	check(filepath.Join(root, "README.md"))
	for _, dir := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			switch filepath.Ext(path) {
			case ".md", ".yaml", ".yml":
				check(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found["compose.yaml"] != 3 || found["kustomization.yaml"] == 0 || found["kubernetes.md"] == 0 {
		t.Errorf("releases found: %v; want 3 in compose.yaml, and some in kustomization.yaml and kubernetes.md", found)
	}
}

// Each port of the host has a variable, and the README names both.
func TestPorts(t *testing.T) {
	readme, found := read(t, "README.md"), 0
	for _, m := range regexp.MustCompile(`127\.0\.0\.1:\$\{([A-Z]+)(_[0-9])?(_PORT):-(\d+)\}`).FindAllStringSubmatch(read(t, "compose.yaml"), -1) {
		found++
		variable := m[1] + m[3]
		if m[2] != "" {
			variable = m[1] + "_0" + m[3] // of three, it names the first
		}
		if !strings.Contains(readme, variable) || !strings.Contains(readme, m[4]) {
			t.Errorf("the README does not name the port %s, or not %s, which changes it", m[4], variable)
		}
	}
	if all := strings.Count(read(t, "compose.yaml"), "127.0.0.1:$"); found != all || found != 9 {
		t.Errorf("%d ports of %d found; want 9", found, all)
	}
}
