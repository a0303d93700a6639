package raftstore

import (
	"context"
	"errors"
	"net"
	"sync"
)

// network is the wires between the servers of a group: each can be cut off, with its connections in both
// directions, and joined again.
type network struct {
	mu    sync.Mutex
	cut   map[string]bool // by address
	wires map[*wire]bool
}

// wire is one connection, as its dialling end has it.
type wire struct {
	net.Conn
	from, to string
	of       *network
}

func newNetwork() *network { return &network{cut: map[string]bool{}, wires: map[*wire]bool{}} }

// dialer dials for a server.
func (n *network) dialer(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, kind, to string) (net.Conn, error) {
		if n.isCut(from) || n.isCut(to) {
			return nil, errors.New("no route: cut off")
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, kind, to)
		if err != nil {
			return nil, err
		}
		w := &wire{conn, from, to, n}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wires[w] = true
		if n.cut[from] || n.cut[to] {
			_ = conn.Close()
		}
		return w, nil
	}
}

func (n *network) isCut(address string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[address]
}

// set cuts a server off, or joins it again.
func (n *network) set(address string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[address] = cut
	for w := range n.wires {
		if cut && (w.from == address || w.to == address) {
			_ = w.Conn.Close()
		}
	}
}

// Close closes and forgets the connection.
func (w *wire) Close() error {
	w.of.mu.Lock()
	delete(w.of.wires, w)
	w.of.mu.Unlock()
	return w.Conn.Close()
}
