package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Who the instances belong to: an app has several, a team several apps.
var (
	apps  = []string{"billing", "cards", "checkout", "deposits", "escrow", "invoices", "loans", "payroll", "refunds", "savings", "taxes", "treasury"}
	teams = []string{"core", "lending", "merchants", "payments"}
)

// targetGroup is one entry of Prometheus's file_sd and http_sd
// (https://prometheus.io/docs/prometheus/latest/http_sd/).
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discovery lists the instances in the form of file_sd and http_sd.
func discovery(addresses []string) []byte {
	groups := make([]targetGroup, 0, len(addresses))
	for i, address := range addresses {
		app := i % len(apps)
		groups = append(groups, targetGroup{
			Targets: []string{address},
			Labels:  map[string]string{"app": apps[app], "team": teams[app%len(teams)]},
		})
	}
	list, err := json.MarshalIndent(groups, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	return append(list, '\n')
}

// writeFile replaces the file at once, since Prometheus may be reading it.
func writeFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".ledger-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Chmod(0o644); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// listen binds n addresses: the first one, and those on the ports that follow
// or, when its port is 0, on ports that are free.
func listen(first string, n int) (listeners []net.Listener, err error) {
	addr, err := net.ResolveTCPAddr("tcp", first)
	if err != nil {
		return nil, fmt.Errorf("resolve --listen-address: %w", err)
	}
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	for range n {
		l, err := net.ListenTCP("tcp", addr)
		if err != nil {
			return listeners, fmt.Errorf("bind instance %d of %d: %w", len(listeners)+1, n, err)
		}
		listeners = append(listeners, l)
		if addr.Port != 0 {
			addr.Port++
		}
	}
	return listeners, nil
}

// advertised is the address under which others reach the listener.
func advertised(l net.Listener) string {
	addr := l.Addr().(*net.TCPAddr)
	if !addr.IP.IsUnspecified() {
		return addr.String()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return net.JoinHostPort(host, fmt.Sprint(addr.Port))
}
