package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a Driver in a network namespace of its own. The namespace has no
// name and no owner but the thread and the processes in it, so that nothing of
// it outlives this program, and no two runs can collide.
type namespace struct {
	thread *thread
	path   string // for other namespaces to refer to it by
}

func newNamespace() (*namespace, error) {
	n := &namespace{thread: newThread()}
	err := n.thread.do(func() error {
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		return unix.Unshare(unix.CLONE_NEWNET)
	})
	if err != nil {
		close(n.thread.jobs)
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return n, n.ip("link set lo up")
}

// Start starts c in the namespace.
func (n *namespace) Start(c Command) (Process, error) { return n.thread.start(c) }

// ip runs the ip command in the namespace, with args parted by spaces.
func (n *namespace) ip(args string) error {
	return n.thread.do(func() error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
}

// lan is a network of namespaces. All hang on one bridge in the hub, where also
// the farm listens: on hubNetwork.x.y.
type lan struct {
	hub     *namespace
	members []*namespace
}

const hubNetwork = "10.77"

func memberAddress(i int) string { return fmt.Sprintf("10.78.0.%d", 10+i) }

// newLAN makes a lan of n members, which ends with the test; it skips the test
// where this is not allowed.
func newLAN(t *testing.T, n int) *lan {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIP: network namespaces need the ip command (iproute2), which is not here")
	}
	hub, err := newNamespace()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("SKIP: network namespaces need root; try: sudo, or unshare --user --map-root-user --net")
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &lan{hub: hub}
	t.Cleanup(l.close)
	for _, args := range []string{
		"link add br0 type bridge", "addr add 10.78.0.1/24 dev br0", "link set br0 up",
		"route add local " + hubNetwork + ".0.0/16 dev lo",
	} {
		if err := hub.ip(args); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if err := l.add(); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *lan) add() error {
	member, err := newNamespace()
	if err != nil {
		return err
	}
	i := len(l.members)
	l.members = append(l.members, member)
	port := fmt.Sprintf("port%d", i)
	return errors.Join(
		l.hub.ip("link add "+port+" type veth peer name eth0 netns "+member.path),
		l.hub.ip("link set "+port+" master br0 up"),
		member.ip("addr add "+memberAddress(i)+"/24 dev eth0"),
		member.ip("link set eth0 up"),
		member.ip("route add default via 10.78.0.1"),
	)
}

func (l *lan) close() {
	for _, n := range append(l.members, l.hub) {
		close(n.thread.jobs)
	}
}

// partition cuts every connection between the members of a and those of b, or
// mends it when verb is "del" and not "add".
func (l *lan) partition(verb string, a, b []int) error {
	var errs []error
	for _, i := range a {
		for _, j := range b {
			errs = append(errs,
				l.members[i].ip("route "+verb+" blackhole "+memberAddress(j)+"/32"),
				l.members[j].ip("route "+verb+" blackhole "+memberAddress(i)+"/32"))
		}
	}
	return errors.Join(errs...)
}

// sites returns one site a member.
func (l *lan) sites() []Site {
	sites := make([]Site, len(l.members))
	for i, member := range l.members {
		sites[i] = Site{
			Driver:     member,
			Prometheus: memberAddress(i) + ":9090",
			Ringside:   memberAddress(i) + ":9590",
			Gossip:     memberAddress(i) + ":7946",
			Relay:      "127.0.0.1:9591",
		}
	}
	return sites
}

// client returns an HTTP client that dials from the hub.
func (l *lan) client() *http.Client {
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = l.hub.thread.do(func() error {
			conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial}}
}

// listen listens on all addresses of the hub.
func (l *lan) listen() (ln net.Listener, err error) {
	err = l.hub.thread.do(func() error {
		ln, err = net.Listen("tcp4", "0.0.0.0:9100")
		return err
	})
	return ln, err
}

func gossipKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}
