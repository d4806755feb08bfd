package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// netTransport is memberlist's, with an end to every stream that we open: memberlist itself writes user messages without a deadline, and
// would keep a goroutine for as long as a stalled peer lets it.
type netTransport struct {
	*memberlist.NetTransport
	// closed ends all streams that we opened, and all that are being dialled.
	closed context.Context
	close  context.CancelFunc
}

// listen binds address for TCP and UDP.
func listen(address netip.AddrPort, c *memberlist.Config) (*netTransport, error) {
	tries := 1
	if address.Port() == 0 {
		tries = 10 // the port that TCP was given may be taken for UDP
	}
	var t *memberlist.NetTransport
	var err error
	for range tries {
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{address.Addr().String()},
			BindPort:  int(address.Port()),
			Logger:    c.Logger,
		})
		if err == nil {
			closed, cancel := context.WithCancel(context.Background())
			return &netTransport{NetTransport: t, closed: closed, close: cancel}, nil
		}
	}
	return nil, fmt.Errorf("listen for gossip on %s: %w: stop what uses the port, or write another cluster.listen_address", address, err)
}

// DialAddressTimeout gives a stream that must have done its work within timeout.
func (t *netTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(t.closed, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	stop := context.AfterFunc(t.closed, func() { _ = conn.Close() })
	return boundConn{Conn: conn, release: stop}, nil
}

// DialTimeout is DialAddressTimeout without a name.
func (t *netTransport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// Shutdown ends the streams, then the listeners.
func (t *netTransport) Shutdown() error {
	t.close()
	return t.NetTransport.Shutdown()
}

type boundConn struct {
	net.Conn
	release func() bool
}

func (c boundConn) Close() error {
	c.release()
	return c.Conn.Close()
}
