package e2e

import (
	"context"
	"fmt"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is a TCP connection to a server that can be broken in several ways.
type link struct {
	*rig
	proxy   *toxiproxy.Proxy
	address string // what to connect to instead of the server
}

// through makes a link to the server at an address. It lasts as long as the test.
func (r *rig) through(address string) *link {
	r.Helper()
	ports, err := freePorts.take(1)
	if err != nil {
		r.Fatal(err)
	}
	l := &link{rig: r, address: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics have a logger of their own
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l.proxy = toxiproxy.NewProxy(server, "link", l.address, address)
	l.up()
	r.Cleanup(l.down)
	return l
}

// down refuses connections and ends those there are.
func (l *link) down() { l.proxy.Stop() }

func (l *link) up() {
	l.Helper()
	if err := l.proxy.Start(); err != nil {
		l.Fatal(err)
	}
}

// add makes what is sent in one direction suffer from a toxic, as Toxiproxy's HTTP
// API names them and their attributes, until it is healed.
func (l *link) add(stream, toxic, attributes string) (heal func()) {
	l.Helper()
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": %s}`, toxic, stream, attributes)))
	if err != nil {
		l.Fatal(err)
	}
	return func() {
		l.Helper()
		if err := l.proxy.Toxics.RemoveToxic(context.Background(), toxic+"_"+stream); err != nil {
			l.Fatal(err)
		}
	}
}
