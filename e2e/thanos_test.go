package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// thanos is a number of Thanos Receives in ingestor mode, each at an address of
// its own and all on the same ports, and a Query over them.
type thanos struct {
	*rig
	receives []*Unit
	query    *Unit
	grpc     int // port
	write    int // port of remote_write
}

// needsThanos skips the test where there is no Thanos.
func needsThanos(t *testing.T) {
	t.Helper()
	if os.Getenv("THANOS") == "" {
		t.Skip("SKIP: this scenario needs the real Thanos: run make e2e, or set THANOS= to the absolute path of the binary")
	}
}

// thanos starts n Receives and the Query.
func (r *rig) thanos(n int) *thanos {
	r.Helper()
	ports, err := freePorts.take(6)
	if err != nil {
		r.Fatal(err)
	}
	t := &thanos{rig: r, grpc: ports[0], write: ports[1]}
	var endpoints []string
	for i := range n {
		host, name := t.host(i), fmt.Sprintf("receive-%d", i)
		u := t.unit(name, fmt.Sprintf("%s:%d", host, ports[2]),
			"receive", "--grpc-address="+t.address(i), fmt.Sprintf("--remote-write.address=%s:%d", host, t.write),
			fmt.Sprintf("--receive.capnproto-address=%s:%d", host, ports[5]),
			fmt.Sprintf("--label=receive=%q", name), "--tsdb.path=data", "--tsdb.enable-native-histograms")
		t.receives = append(t.receives, u)
		t.launch(u)
		endpoints = append(endpoints, "--endpoint-strict="+t.address(i))
	}
	// The other way to put the samples of two replicas together, penalty, skips some where one of them has a gap.
	t.query = t.unit("query", fmt.Sprintf("127.0.0.1:%d", ports[3]), append([]string{
		"query", fmt.Sprintf("--grpc-address=127.0.0.1:%d", ports[4]), "--query.replica-label=receive", "--deduplication.func=chain",
	}, endpoints...)...)
	t.launch(t.query)
	return t
}

// router starts a Receive that stores nothing and routes by a hashrings file, and
// returns the URL to write to.
func (t *thanos) router(name, hashrings, algorithm string, replicas int) string {
	t.Helper()
	ports, err := freePorts.take(4)
	if err != nil {
		t.Fatal(err)
	}
	file := t.beside(name + ".json")
	if err := os.WriteFile(file, []byte(hashrings), 0o644); err != nil {
		t.Fatal(err)
	}
	t.launch(t.unit(name, fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"receive", fmt.Sprintf("--grpc-address=127.0.0.1:%d", ports[1]), fmt.Sprintf("--remote-write.address=127.0.0.1:%d", ports[2]),
		fmt.Sprintf("--receive.capnproto-address=127.0.0.1:%d", ports[3]), `--label=router="yes"`, "--receive.hashrings-file="+file, "--receive.hashrings-algorithm="+algorithm,
		fmt.Sprintf("--receive.replication-factor=%d", replicas)))
	return fmt.Sprintf("http://127.0.0.1:%d/api/v1/receive", ports[2])
}

// unit returns a Thanos that has not been started.
func (t *thanos) unit(name, address string, args ...string) *Unit {
	t.Helper()
	dir := t.beside(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u := &Unit{
		Name: name, URL: "http://" + address, driver: NewProcesses(),
		Command: Command{
			Path: os.Getenv("THANOS"), Dir: dir, Log: dir + ".log", Args: append(args, "--http-address="+address),
		},
	}
	t.Cleanup(func() {
		u.Kill()
		if t.Failed() {
			text, _ := os.ReadFile(u.Command.Log) // one that never ran has none
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, " level=info ") })
			t.Logf("%s, the end of its log but for information:\n\t%s", u.Name, strings.Join(lines[max(0, len(lines)-10):], "\n\t"))
		}
	})
	return u
}

// host is where the i-th Receive lives.
func (t *thanos) host(i int) string { return fmt.Sprintf("127.0.0.%d", 2+i) }

// address is how a hashrings file names the i-th Receive.
func (t *thanos) address(i int) string { return fmt.Sprintf("%s:%d", t.host(i), t.grpc) }

// writeURL is where the i-th Receive takes remote_write.
func (t *thanos) writeURL(i int) string {
	return fmt.Sprintf("http://%s:%d/api/v1/receive", t.host(i), t.write)
}
