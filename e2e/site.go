package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
		if ports, err = freePorts(4 * n); err != nil {
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

// freePorts returns n different ports that are free now. They are picked at
// random below the range from which kernels take ports for outgoing
// connections, so that nothing but another pick can take them meanwhile.
func freePorts(n int) ([]int, error) {
	const low, high = 20000, 32000
	ports := make([]int, 0, n)
	for _, offset := range rand.Perm(high - low) {
		if len(ports) == n {
			return ports, nil
		}
		if port := low + offset; portFree(port) {
			ports = append(ports, port)
		}
	}
	return nil, errors.New("no free ports between 20000 and 32000")
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
