package facts

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// link is a way to a server that can be cut in one direction: what the server has of a host that lost its
// power is a connection that nobody ends.
type link struct {
	folder string // a socket folder for connection strings
	to     string

	guard sync.Mutex
	ways  []way
}

// way is one connection through the link.
type way struct{ client, server net.Conn }

const socketFile = ".s.PGSQL.5432"

// link makes a way to the server.
func (s *server) link() *link {
	s.Helper()
	k := &link{folder: filepath.Join(s.dir, s.name+".l"), to: filepath.Join(s.socket(), socketFile)}
	s.must(os.Mkdir(k.folder, 0o755))
	l, err := net.Listen("unix", filepath.Join(k.folder, socketFile))
	s.must(err)
	s.must(os.Chmod(filepath.Join(k.folder, socketFile), 0o777))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for k.accept(l) {
		}
	}()
	s.Cleanup(func() {
		_ = l.Close()
		<-done
		k.guard.Lock()
		defer k.guard.Unlock()
		for _, w := range k.ways {
			_, _ = w.client.Close(), w.server.Close()
		}
	})
	return k
}

func (k *link) accept(l net.Listener) bool {
	client, err := l.Accept()
	if err != nil {
		return false
	}
	server, err := net.Dial("unix", k.to)
	if err != nil {
		_ = client.Close()
		return true
	}
	k.guard.Lock()
	defer k.guard.Unlock()
	k.ways = append(k.ways, way{client, server})
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	// The other direction leaves the server's end open when the client has gone.
	go func() { _, _ = io.Copy(server, client) }()
	return true
}

// halve ends all connections at the client's end; the server does not learn of it.
func (k *link) halve() {
	k.guard.Lock()
	defer k.guard.Unlock()
	for _, w := range k.ways {
		_ = w.client.Close()
	}
}
