package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain plays one of the programs that the relay is measured with where the
// first argument names one of roles, and runs the tests otherwise. A role in a
// process of its own has its own CPU time and memory.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// roles are programs whose first argument is the address to listen on.
var roles = map[string]func(args []string) error{
	"role-discard": func(args []string) error { return serveRole(args[0], http.HandlerFunc(discard)) },
	"role-verify":  func(args []string) error { return serveRole(args[0], newVerifier()) },
	"role-proxy": func(args []string) error {
		to, err := url.Parse(args[1])
		if err != nil {
			return err
		}
		proxy := httputil.NewSingleHostReverseProxy(to)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 100 // the default of 2 would have it dial all the time
		proxy.Transport = transport
		return serveRole(args[0], proxy)
	},
}

func serveRole(address string, h http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/-/ready", func(http.ResponseWriter, *http.Request) {})
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return http.Serve(ln, mux)
}

// stand is what a measurement of the relay stands on: programs in processes of
// their own, which end with the test.
type stand struct {
	testing.TB
	driver Driver
	dir    string
	client *http.Client
}

func newStand(tb testing.TB) *stand {
	tb.Helper()
	if os.Getenv("RINGSIDE") == "" {
		tb.Skip("SKIP: this needs the real program: run make bench, or set RINGSIDE= to the absolute path of the binary")
	}
	return &stand{TB: tb, driver: NewProcesses(), dir: tb.TempDir(), client: &http.Client{Timeout: 5 * time.Second}}
}

// role starts the role, which is ready on return.
func (s *stand) role(name string, args ...string) *Unit {
	s.Helper()
	self, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	address := s.addresses(1)[0]
	u := &Unit{
		Name: name, URL: "http://" + address, driver: s.driver,
		Command: Command{Path: self, Args: append([]string{name, address}, args...), Dir: s.dir, Log: filepath.Join(s.dir, name+".log")},
	}
	s.launch(u, "/-/ready")
	return u
}

// launch starts u and waits until path answers.
func (s *stand) launch(u *Unit, path string) {
	s.Helper()
	if err := u.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(u.Kill)
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Second, errors.New("20 seconds are over"))
	defer cancel()
	if err := u.awaitReady(ctx, s.client, path); err != nil {
		s.Fatal(err)
	}
}

func (s *stand) addresses(n int) []string {
	s.Helper()
	ports, err := freePorts.take(n)
	if err != nil {
		s.Fatal(err)
	}
	addresses := make([]string, n)
	for i, port := range ports {
		addresses[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return addresses
}

// relay starts Ringside alone, without a Prometheus beside it, with to as its
// one upstream. It returns the program and the URL to write to.
func (s *stand) relay(to string) (*Unit, string) {
	s.Helper()
	at := s.addresses(4)
	dir, err := os.MkdirTemp(s.dir, "relay-")
	if err != nil {
		s.Fatal(err)
	}
	yml := fmt.Sprintf(`cluster:
  name: bench
  node: %s
  listen_address: %s
  peers: [%[2]s]
prometheus:
  url: http://%s
  config_file: prometheus.yml
relay:
  listen_address: %s
  upstreams: [{name: sink, endpoints: [%s]}]
`, replica, at[0], at[1], at[2], to)
	for name, text := range map[string]string{"ringside.yml": yml, "prometheus.yml": "scrape_configs: []\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			s.Fatal(err)
		}
	}
	u := &Unit{
		Name: "ringside", URL: "http://" + at[3], driver: s.driver,
		Command: Command{
			Path: os.Getenv("RINGSIDE"), Dir: dir, Log: filepath.Join(dir, "ringside.log"),
			Args: []string{"run", "--config.file=ringside.yml", "--web.listen-address=" + at[3]},
		},
	}
	s.launch(u, "/-/healthy")
	s.Cleanup(func() {
		if s.Failed() && !u.Running() {
			log, _ := os.ReadFile(u.Command.Log) // it has been started
			s.Logf("the end of %s:\n%s", u.Command.Log, log[max(0, len(log)-3000):])
		}
	})
	return u, "http://" + at[2] + "/api/v1/write"
}

// procFile returns a file of /proc that tells of the unit's process.
func (s *stand) procFile(u *Unit, name string) []byte {
	s.Helper()
	pid := u.proc.(*process).cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		s.Skipf("SKIP: figures of a process come from Linux's /proc: %v", err)
	}
	return text
}

// cpuTime returns how long the unit's process has been on a CPU, in user and
// system mode.
func (s *stand) cpuTime(u *Unit) time.Duration {
	s.Helper()
	const ticksPerSecond = 100 // USER_HZ, on every architecture that Go runs on
	stat := s.procFile(u, "stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on: see proc_pid_stat(5)
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			s.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// memory returns a line of the process's status, such as VmRSS or VmHWM, in bytes.
func (s *stand) memory(u *Unit, line string) int64 {
	s.Helper()
	for text := range strings.Lines(string(s.procFile(u, "status"))) {
		if value, ok := strings.CutPrefix(text, line+":"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				s.Fatal(err)
			}
			return kib << 10
		}
	}
	s.Fatalf("no %s in the status of %s", line, u.Name)
	return 0
}

// forgetPeak makes VmHWM, the peak of the resident memory, begin anew.
func (s *stand) forgetPeak(u *Unit) {
	s.Helper()
	pid := u.proc.(*process).cmd.Process.Pid
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		s.Fatal(err)
	}
}

// get returns the body of a 200.
func (s *stand) get(url string) []byte {
	s.Helper()
	body, err := fetch(context.Background(), s.client, url)
	if err != nil {
		s.Fatal(err)
	}
	return body
}

// drain reads what is left of a response, so that its connection serves again.
func drain(resp *http.Response) {
	io.Copy(io.Discard, resp.Body) // an error shows in the next request
	resp.Body.Close()
}
