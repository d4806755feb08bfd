package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// projectLabel is what every Compose puts on all that it makes.
const projectLabel = "com.docker.compose.project"

// composed is the demo of examples/compose in a project of its own. Its pairs are
// known by their names and URLs; their programs are not this program's.
type composed struct {
	*rig
	command []string // up to Compose's own command
	env     []string
	project string
	query   string // URL
}

// newComposed starts the demo, and takes everything of it down in the end.
func newComposed(t *testing.T) *composed {
	t.Helper()
	compose := strings.Fields(os.Getenv("COMPOSE"))
	if len(compose) == 0 {
		t.Skip("SKIP: the Compose demo needs Docker and its images: run make e2e-compose")
	}
	ports, err := freePorts.take(8)
	if err != nil {
		t.Fatal(err)
	}
	project := cmp.Or(os.Getenv("COMPOSE_PROJECT_NAME"), fmt.Sprintf("ringside-e2e-%d", os.Getpid()))
	c := &composed{
		rig:     &rig{T: t, Fleet: &Fleet{}, started: time.Now()},
		command: append(compose, "--file", filepath.Join("..", "examples", "compose", "compose.yaml"), "--project-name", project),
		env:     os.Environ(),
		project: project,
		query:   fmt.Sprintf("http://127.0.0.1:%d", ports[6]),
	}
	c.env = append(c.env, fmt.Sprintf("QUERY_PORT=%d", ports[6]), fmt.Sprintf("ALERTMANAGER_PORT=%d", ports[7]))
	for i := range 3 {
		c.env = append(c.env, fmt.Sprintf("PROMETHEUS_%d_PORT=%d", i, ports[i]), fmt.Sprintf("RINGSIDE_%d_PORT=%d", i, ports[3+i]))
		c.Pairs = append(c.Pairs, &Pair{
			Name: fmt.Sprintf("pair-%d", i), client: &http.Client{Timeout: 5 * time.Second},
			Sidecar:    &Unit{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[3+i])},
			Prometheus: &Unit{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[i])},
		})
	}
	t.Cleanup(c.down)
	c.compose("up", "--detach")
	return c
}

// containers names the two containers of a pair.
func (c *composed) containers(p *Pair) []string {
	return []string{p.Name + "-ringside", p.Name + "-prometheus"}
}

// compose runs a command of Compose, which must go well.
func (c *composed) compose(args ...string) {
	c.Helper()
	if out, err := c.run(c.Context(), append(slices.Clip(c.command), args...)...); err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
}

// run runs a command and returns what it prints.
func (c *composed) run(ctx context.Context, command ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("2 minutes are over"))
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = c.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return out.String(), nil
}

// docker runs a command of Docker, which must go well, and returns its lines.
func (c *composed) docker(args ...string) []string {
	c.Helper()
	out, err := c.run(c.Context(), append([]string{"docker"}, args...)...)
	if err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
	return strings.Fields(out)
}

// inspect returns a field of the state of each of a pair's containers.
func (c *composed) inspect(p *Pair, field string) []string {
	c.Helper()
	args := []string{"inspect", "--format", "{{.State." + field + "}}"}
	for _, service := range c.containers(p) {
		args = append(args, c.docker("ps", "--all", "--quiet", "--filter", "label="+projectLabel+"="+c.project,
			"--filter", "label=com.docker.compose.service="+service)...)
	}
	return c.docker(args...)
}

// down shows what went wrong, removes all that the demo has made, and fails the
// test when something is left.
func (c *composed) down() {
	ctx := context.Background() // the test's own has ended
	if c.Failed() {
		c.showContainers(ctx)
	}
	if out, err := c.run(ctx, append(slices.Clip(c.command), "down", "--volumes", "--remove-orphans", "--timeout=20")...); err != nil {
		c.Errorf("%v\n%s", err, out)
	}
	for _, list := range [][]string{{"ps", "--all"}, {"volume", "ls"}, {"network", "ls"}} {
		command := append(append([]string{"docker"}, list...), "--quiet", "--filter", "label="+projectLabel+"="+c.project)
		if left, err := c.run(ctx, command...); left != "" || err != nil {
			c.Errorf("left behind: %s (error: %v)", left, err)
		}
	}
}

// showContainers logs the state of all containers, and the end of the log of the
// sidecars and of those that do not run.
func (c *composed) showContainers(ctx context.Context) {
	list, err := c.run(ctx, "docker", "ps", "--all", "--filter", "label="+projectLabel+"="+c.project, "--format", "{{.Names}}\t{{.Status}}")
	c.Logf("containers (error: %v):\n%s", err, list)
	for line := range strings.Lines(list) {
		name, status, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(status, "Up") && !strings.Contains(name, "-ringside") {
			continue
		}
		log, err := c.run(ctx, "docker", "logs", "--tail=20", name)
		c.Logf("the end of the log of %s (error: %v):\n%s", name, err, log)
	}
}
