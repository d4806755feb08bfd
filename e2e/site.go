package e2e

import (
	"fmt"
	"net"
	"strconv"
)

// Site is where a pair lives: who starts its programs, and the addresses that
// they listen on.
type Site struct {
	Driver     Driver
	Prometheus string // host:port, as are the others
	Ringside   string
	Gossip     string
	Relay      string
}

// LoopbackSites returns n sites on 127.0.0.1. Ports count up from those that
// people know, 9090 and 9590 for the first site, as long as preferKnown is set
// and all of them are free; otherwise any free ones are taken.
func LoopbackSites(n int, driver Driver, preferKnown bool) ([]Site, error) {
	var err error
	ports := knownPorts(n)
	if !preferKnown || !allFree(ports) {
		if ports, err = freePorts.take(4 * n); err != nil {
			return nil, fmt.Errorf("sites on loopback: %w", err)
		}
	}
	address := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	sites := make([]Site, n)
	for i := range sites {
		sites[i] = Site{
			Driver:     driver,
			Prometheus: address(4 * i),
			Ringside:   address(4*i + 1),
			Gossip:     address(4*i + 2),
			Relay:      address(4*i + 3),
		}
	}
	return sites, nil
}

func knownPorts(n int) []int {
	var ports []int
	for i := range n {
		ports = append(ports, 9090+i, 9590+i, 7946+i, 9690+i)
	}
	return ports
}

func allFree(ports []int) bool {
	for _, port := range ports {
		if !portFree(port) {
			return false
		}
	}
	return true
}

// portFree says whether port is free on every address, for TCP and UDP.
func portFree(port int) bool {
	address := ":" + strconv.Itoa(port)
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	udp.Close()
	return true
}
