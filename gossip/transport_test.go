package gossip

import (
	stdlog "log"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// A stream to a peer that does not read ends with its timeout, or with the transport.
func TestTransportStalledPeer(t *testing.T) {
	stalled, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stalled.Close() }()
	for name, timeout := range map[string]time.Duration{"timeout": 50 * time.Millisecond, "shutdown": time.Hour} {
		t.Run(name, func(t *testing.T) {
			conf := &memberlist.Config{Logger: stdlog.New(t.Output(), "", 0)}
			tr, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), conf)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := tr.DialTimeout(stalled.Addr().String(), timeout)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					_, err = conn.Write(make([]byte, 1<<20))
				}
				ended <- err
			}()
			if timeout > time.Minute {
				defer func() { <-ended }()
			} else {
				<-ended
			}
			if err := tr.Shutdown(); err != nil {
				t.Error(err)
			}
			if _, err := tr.DialTimeout(stalled.Addr().String(), timeout); err == nil {
				t.Error("dialled after the end")
			}
		})
	}
}
