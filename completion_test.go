package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asRingside, set to 1, makes the test binary the program: see TestMain.
const asRingside = "RINGSIDE_TEST_IS_RINGSIDE"

// complete asks bash, with the script loaded, what the last of the words may become.
const complete = `set -eu
source <(ringside --completion-script-bash)
complete -p ringside >/dev/null
COMP_WORDS=(ringside "$@") COMP_CWORD=$#
_ringside_bash_autocomplete || :
printf '%s\n' "${COMPREPLY[@]}"
`

func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIP: needs bash, Debian's package bash")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "ringside")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		words []string
		want  []string // among the answers
		only  bool     // and no other
	}{
		{[]string{""}, []string{"run", "check-config", "keygen", "explain", "simulate", "flush", "bucket", "help"}, true},
		{[]string{"s"}, []string{"simulate"}, true},
		{[]string{"--l"}, []string{"--log.level", "--log.format"}, true},
		{[]string{"run", "--web"}, []string{"--web.listen-address", "--web.config.file", "--web.enable-lifecycle"}, false},
		{[]string{"run", "--log.level", ""}, []string{"debug", "info", "warn", "error"}, true},
		{[]string{"run", "--log.level", "=", "d"}, []string{"debug"}, true}, // --log.level=d, as bash parts it
		{[]string{"run", "--log.level", "="}, []string{"debug", "info", "warn", "error"}, true},
		{[]string{"--log.level", "=", "info", "--log.f"}, []string{"--log.format"}, true},
		{[]string{"simulate", "--"}, []string{"--add", "--remove", "--replicas", "--capacity", "--output", "--url"}, false},
		{[]string{"bucket", ""}, []string{"ls", "verify"}, true},
		{[]string{"check-config", ""}, []string{""}, true}, // left to bash: files
	} {
		cmd := exec.CommandContext(t.Context(), bash, append([]string{"-c", complete, "bash"}, tc.words...)...)
		cmd.Env = append(os.Environ(), asRingside+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", tc.words, err, out)
			continue
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for _, want := range tc.want {
			if !slices.Contains(got, want) {
				t.Errorf("%q becomes %q; want %q among it", tc.words, got, want)
			}
		}
		if tc.only && len(got) != len(tc.want) {
			t.Errorf("%q becomes %q; want %q alone", tc.words, got, tc.want)
		}
	}
}
