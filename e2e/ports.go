package e2e

import (
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below those that kernels take for outgoing
// connections. Programs that run at the same time keep to blocks of their own.
const (
	firstPort = 20000
	lastPort  = 32000
	blockSize = 500
)

// freePorts are this program's.
var freePorts portBlocks

// portBlocks hands out each port once: one that belongs to a server which has
// been killed is still that server's, and merely to try whether a port is free
// can keep its owner from listening on it.
type portBlocks struct {
	mu        sync.Mutex
	marks     []net.Listener // on the first port of each block that is ours, for as long as we run
	next, end int
	block     int // where to look for the next block
}

// take returns n ports that are free now and handed out to nobody else.
func (b *portBlocks) take(n int) ([]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ports := make([]int, 0, n)
	for len(ports) < n {
		if b.next == b.end && !b.nextBlock() {
			return nil, fmt.Errorf("no free ports between %d and %d", firstPort, lastPort)
		}
		if portFree(b.next) {
			ports = append(ports, b.next)
		}
		b.next++
	}
	return ports, nil
}

func (b *portBlocks) nextBlock() bool {
	for first := max(b.block, firstPort); first+blockSize <= lastPort; first += blockSize {
		mark, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first))
		if err != nil {
			continue // another program's
		}
		b.marks = append(b.marks, mark)
		b.next, b.end, b.block = first+1, first+blockSize, first+blockSize
		return true
	}
	return false
}
