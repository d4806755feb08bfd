package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ringside-project/ringside"

// mayImport is the house: main → agent → config → the leaves. A package may
// import those named, and what lies below itself.
var mayImport = map[string][]string{
	"":         {"agent", "config", "gossip", "scrape", "uploader"},
	"agent":    {"config", "gossip", "scrape", "relay", "uploader"},
	"config":   {"gossip", "scrape", "relay", "uploader"},
	"gossip":   nil,
	"scrape":   nil,
	"relay":    nil,
	"uploader": nil,
	"examples": {"e2e"}, // the demo uses the harness
	"e2e":      nil,
}

// TestImports fails when an import goes against the house's order.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f",
		`{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from, ours := part(words[0])
		if !ours {
			t.Fatalf("go list: %s", line)
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s: a package that the house has no place for", words[0])
		}
		for _, path := range words[1:] {
			to, ours := part(path)
			if !ours || to == from {
				continue
			}
			if !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: imports go main → agent → config → gossip, scrape, relay, uploader, and nowhere else", words[0], path)
			}
		}
	}
}

// part is the top directory of one of the module's packages.
func part(path string) (name string, ours bool) {
	rest, ours := strings.CutPrefix(path, module)
	name, _, _ = strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	return name, ours
}
