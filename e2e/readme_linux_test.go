package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elsewhere are the commands that are not run as the README shows them, by
// their first two words, with the target of the Makefile that does it.
var elsewhere = map[string]string{
	"make demo":        "demo", // TestReadmeDemo runs what it does
	"make test":        "test",
	"make demo-images": "e2e-compose",
	"docker compose":   "e2e-compose",
}

// readmeHosts is the network of the hosts in the README.
const readmeHosts = "10.0.0.1"

// blocks returns the fenced blocks of that language in a Markdown file.
func blocks(t *testing.T, file, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	return found
}

// commandsOf returns the commands in a console block, without their output and comments.
func commandsOf(block string) []string {
	var list []string
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			command, _, _ = strings.Cut(command, "   #")
			list = append(list, strings.TrimSpace(command))
		}
	}
	return list
}

// TestReadme does what the README says, as it is typed: the files that it
// shows, on three hosts, and each of its commands.
func TestReadme(t *testing.T) {
	t.Parallel()
	lan := newLAN(t, 3)
	hosts := make([]*readmeHost, len(lan.members))
	for i := range hosts {
		hosts[i] = newReadmeHost(t, lan, i)
	}
	ran := 0
	for _, block := range blocks(t, "README.md", "console") {
		commands := slices.DeleteFunc(commandsOf(block), func(c string) bool { return runElsewhere(t, c) })
		switch {
		case len(commands) == 0:
		case strings.Contains(commands[0], "keygen"):
			hosts[0].run(commands)
			for _, h := range hosts[1:] {
				h.copyKey(hosts[0])
			}
		case strings.HasPrefix(commands[0], "ringside check-config"):
			for _, h := range hosts {
				h.start(commands)
			}
			for _, h := range hosts {
				h.started()
			}
			hosts[0].settled(len(hosts))
		default:
			hosts[0].run(commands)
		}
		ran += len(commands)
	}
	if ran < 9 {
		t.Errorf("only %d commands of the README were run", ran)
	}
}

// TestReadmeDemo runs what make demo runs until the pairs have settled.
func TestReadmeDemo(t *testing.T) {
	t.Parallel()
	needBinaries(t)
	if !slices.Contains(commandsOf(blocks(t, "README.md", "console")[0]), "make demo") {
		t.Error("the README does not begin with make demo")
	}
	dir := t.TempDir()
	for _, name := range []string{"demo", "ledger"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, name), "../examples/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "demo"), "--for=2m",
		"--ringside="+os.Getenv("RINGSIDE"), "--prometheus="+os.Getenv("PROMETHEUS"),
		"--ledger="+filepath.Join(dir, "ledger"), "--rules=../examples/ledger/alerts.yml")
	demo.Cancel = func() error { return demo.Process.Signal(os.Interrupt) } // it ends what it has started
	demo.Stderr = os.Stderr
	out, err := demo.StdoutPipe()
	if err == nil {
		err = demo.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	settled := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !settled && strings.Contains(lines.Text(), " settled:") {
			settled = true
			err = demo.Process.Signal(os.Interrupt)
		}
	}
	if err := errors.Join(err, demo.Wait()); err != nil || !settled {
		t.Errorf("the demo does not settle and end within two minutes: %v", err)
	}
}

func needBinaries(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGSIDE") == "" || os.Getenv("PROMETHEUS") == "" {
		t.Skip("SKIP: scenarios need real servers: run make e2e, or set RINGSIDE= and PROMETHEUS= to the absolute paths of the binaries")
	}
}

// TestDocumentedCommands wants every command that the other documents show in
// console blocks to be one that there is.
func TestDocumentedCommands(t *testing.T) {
	ringside := os.Getenv("RINGSIDE")
	if ringside == "" {
		t.Skip("SKIP: needs the binary: run make e2e, or set RINGSIDE= to its absolute path")
	}
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../examples/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no documents %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		for _, block := range blocks(t, strings.TrimPrefix(file, "../"), "console") {
			for _, command := range commandsOf(block) {
				words := strings.Fields(command)
				if i := slices.Index(words, "/bin/ringside"); i > 0 { // in a container
					words = append([]string{"ringside"}, words[i+1:]...)
				}
				switch {
				case words[0] == "make":
					if out, err := exec.CommandContext(t.Context(), "make", append([]string{"-n", "-C", ".."}, words[1:]...)...).CombinedOutput(); err != nil {
						t.Errorf("%s: %s: %v\n%s", file, command, err, out)
					}
				case words[0] == "ringside" && len(words) > 1 && !strings.HasPrefix(words[1], "-"):
					knowsFlags(t, file, ringside, words[1:])
				}
			}
		}
	}
}

// knowsFlags wants the help of a command of Ringside to name each of its flags.
func knowsFlags(t *testing.T, file, ringside string, words []string) {
	t.Helper()
	named := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "-") })
	help, err := exec.CommandContext(t.Context(), ringside, append([]string{"help"}, named[:1]...)...).CombinedOutput()
	if named[0] == "bucket" {
		help, err = exec.CommandContext(t.Context(), ringside, "help", "bucket", named[1]).CombinedOutput()
	}
	if err != nil || strings.Contains(string(help), "unknown command") {
		t.Errorf("%s: ringside %s: no such command: %v\n%s", file, words, err, help)
		return
	}
	for _, w := range words {
		if flag, _, _ := strings.Cut(w, "="); strings.HasPrefix(flag, "--") && !regexp.MustCompile(regexp.QuoteMeta(flag)+`\b`).Match(help) {
			t.Errorf("%s: ringside %s: no flag %s in\n%s", file, words, flag, help)
		}
	}
}

// runElsewhere tells whether another test runs the command, and wants the
// Makefile to have its target.
func runElsewhere(t *testing.T, command string) bool {
	t.Helper()
	words := strings.Fields(command)
	target, yes := elsewhere[strings.Join(words[:min(2, len(words))], " ")]
	if yes {
		if out, err := exec.CommandContext(t.Context(), "make", "-n", "-C", "..", target).CombinedOutput(); err != nil {
			t.Errorf("%s is run by make %s: %v\n%s", command, target, err, out)
		}
	}
	return yes
}

// readmeHost is a host in a network namespace of its own, with a directory that
// holds the files which the README shows.
type readmeHost struct {
	*testing.T
	*namespace
	name, dir, address string
	client             *http.Client
	shell              Process
}

func newReadmeHost(t *testing.T, l *lan, i int) *readmeHost {
	t.Helper()
	needBinaries(t)
	name := fmt.Sprintf("prometheus-%d", i)
	h := &readmeHost{T: t, namespace: l.members[i], name: name, dir: t.TempDir(), address: memberAddress(i), client: l.client()}
	for _, text := range blocks(t, "README.md", "yaml") {
		if m := regexp.MustCompile(`^# ([a-z]+\.yml)\n`).FindStringSubmatch(text); m != nil {
			text = strings.ReplaceAll(text, readmeHosts, strings.TrimSuffix(memberAddress(0), "0"))
			if err := os.WriteFile(filepath.Join(h.dir, m[1]), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(h.dir, ".bin")
	for link, to := range map[string]string{
		"examples": examples, ".bin/ringside": os.Getenv("RINGSIDE"), ".bin/prometheus": os.Getenv("PROMETHEUS"),
	} {
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(h.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if h.shell != nil && h.shell.Signal(syscall.SIGKILL) == nil {
			h.shell.Wait()
		}
		if t.Failed() {
			text, _ := os.ReadFile(h.console()) // a host that was never started has none
			t.Logf("the console of %s:\n%s", name, text)
		}
	})
	return h
}

// console is the file that all which runs on the host writes to.
func (h *readmeHost) console() string { return filepath.Join(h.dir, "console.log") }

// done is the file that tells that the commands of start have been typed.
func (h *readmeHost) done() string { return filepath.Join(h.dir, "done") }

// run types the commands and waits for their end.
func (h *readmeHost) run(commands []string) {
	h.Helper()
	p, err := h.Start(h.shellCommand(strings.Join(commands, "\n"), "bash"))
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		h.Fatalf("%s: %q: %v", h.name, commands, err)
	}
}

// start types the commands and returns at once. What they leave in the
// background runs until the test ends, on a host of that name.
func (h *readmeHost) start(commands []string) {
	h.Helper()
	script := "hostname " + h.name + "\n" + strings.Join(commands, "\n") + "\n: >" + h.done() + "\nwait"
	var err error
	// The processes are in a namespace of their own too: all end with the first.
	h.shell, err = h.Start(h.shellCommand(script, "unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"))
	if err != nil {
		h.Fatal(err)
	}
}

func (h *readmeHost) shellCommand(script string, shell ...string) Command {
	args := append([]string{"PATH=" + filepath.Join(h.dir, ".bin") + ":" + os.Getenv("PATH")}, shell...)
	return Command{Path: "/usr/bin/env", Dir: h.dir, Log: h.console(), Args: append(args, "-euxc", script)}
}

// started waits until the commands of start have been typed.
func (h *readmeHost) started() {
	h.Helper()
	ctx, cancel := context.WithTimeoutCause(h.Context(), 2*time.Minute, errors.New("two minutes are over"))
	defer cancel()
	err := poll(ctx, func() error {
		if err := h.shell.Signal(0); err != nil {
			return final(err)
		}
		_, err := os.Stat(h.done())
		return err
	})
	if err != nil {
		h.Fatalf("%s: not all commands of the README went well: %v", h.name, err)
	}
}

// settled waits until the host's sidecar says that n members agree.
func (h *readmeHost) settled(n int) {
	h.Helper()
	ctx, cancel := context.WithTimeoutCause(h.Context(), time.Minute, errors.New("a minute is over"))
	defer cancel()
	err := poll(ctx, func() error {
		var answer struct{ Data ClusterStatus }
		body, err := fetch(ctx, h.client, "http://"+h.address+":9590/api/v1/status/cluster")
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err == nil && (!answer.Data.Settled || len(answer.Data.Members) != n) {
			err = fmt.Errorf("settled: %v, %d members; want %d", answer.Data.Settled, len(answer.Data.Members), n)
		}
		return err
	})
	if err != nil {
		h.Fatalf("the hosts of the README: %v", err)
	}
}

// copyKey copies the gossip key from the host that made it.
func (h *readmeHost) copyKey(from *readmeHost) {
	h.Helper()
	const name = "gossip.key"
	key, err := os.ReadFile(filepath.Join(from.dir, name))
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, name), key, 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
}
