package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// flagsOf are all flags that there are, each with its command and its default.
func flagsOf(app *kingpin.ApplicationModel) map[string]bool {
	found := map[string]bool{}
	add := func(command string, flags *kingpin.FlagGroupModel) {
		for _, f := range flags.Flags {
			found[command+" --"+f.Name+"="+strings.Join(f.Default, ",")] = true
		}
	}
	add("all", app.FlagGroupModel)
	var walk func(group *kingpin.CmdGroupModel, above []*kingpin.FlagGroupModel)
	walk = func(group *kingpin.CmdGroupModel, above []*kingpin.FlagGroupModel) {
		for _, c := range group.Commands {
			flags := append(slices.Clip(above), c.FlagGroupModel)
			if len(c.Commands) > 0 {
				walk(c.CmdGroupModel, flags)
				continue
			}
			for _, group := range flags {
				add(c.FullCommand, group)
			}
		}
	}
	walk(app.CmdGroupModel, nil)
	return found
}

// TestDocumentedFlags wants docs/configuration.md to have every flag of every
// command with its default, and no other.
func TestDocumentedFlags(t *testing.T) {
	text, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Flags\n")
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := func(cell string) (words []string) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			words = append(words, m[1])
		}
		return words
	}
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `--") || len(cells) < 4 {
			continue
		}
		commands := quoted(cells[2])
		if cells[2] == " all " {
			commands = []string{"all"}
		}
		for _, flag := range quoted(cells[1]) {
			for _, c := range commands {
				documented[c+" "+flag+"="+strings.Join(quoted(cells[3]), ",")] = true
			}
		}
	}
	app, _ := newApplication(io.Discard, io.Discard)
	flags := flagsOf(app.Model())
	for f := range flags {
		if !documented[f] {
			t.Errorf("docs/configuration.md does not have %q: command, flag, default", f)
		}
	}
	for f := range documented {
		if !flags[f] {
			t.Errorf("docs/configuration.md has %q: command, flag, default; there is no such", f)
		}
	}
}

// TestHelp wants each way to ask for help to give what the texts promise of it.
func TestHelp(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const ofRun, ofFlush = "web.enable-lifecycle", "min-block-duration"
	for _, tc := range []struct{ args, want, not string }{
		{"--help", `"ringside help run" lists the flags`, ofRun},
		{"help run", ofRun, ofFlush},
		{"run --help", ofRun, ofFlush},
		{"help flush", ofFlush, ofRun},
		{"help bucket verify", "config.file", ofRun},
		{"--help-long", ofRun, ""},
		{"--help-long", ofFlush, ""},
	} {
		cmd := exec.CommandContext(t.Context(), self, strings.Fields(tc.args)...)
		cmd.Env = append(os.Environ(), asRingside+"=1")
		out, err := cmd.CombinedOutput()
		said := strings.Join(strings.Fields(string(out)), " ")
		if err != nil || !strings.Contains(said, tc.want) || tc.not != "" && strings.Contains(said, tc.not) {
			t.Errorf("%s: %v\n%s\nwant %s in it, and not %q", tc.args, err, out, tc.want, tc.not)
		}
	}
}
