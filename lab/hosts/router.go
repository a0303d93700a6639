package hosts

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// link is how packets travel from one data center to another, in that direction. The zero value is
// without faults.
type link struct {
	delay  time.Duration
	jitter time.Duration // up to this much more, other for each packet
	loss   float64       // percent, drawn for each packet by itself
	cut    bool
}

const (
	frameMost  = 1 << 16
	etherType  = 12 // where it is in a frame
	typeIPv4   = 0x0800
	ipHeader   = 14 // where it begins
	ipTarget   = ipHeader + 16
	frameLeast = ipHeader + 20
	// queueMost is how many packets a link holds; those beyond are dropped, as routers do.
	queueMost = 20000
)

// router forwards IPv4 packets between the networks of the data centers. It is a gateway without
// addresses of its own: hosts know its hardware address, and it knows theirs from where packets go.
type router struct {
	sites  []string
	taps   []*os.File
	lines  [][]*line // [from][to]
	broken chan error
}

// line is the state of a link: packets that are under way, in the order in which they arrive.
type line struct {
	out   *os.File
	wake  chan struct{}
	mu    sync.Mutex
	link  link
	queue []packet
}

type packet struct {
	due   time.Time
	frame []byte
}

// Route is the lab's router: it works until ctx ends. `lab up` starts it as a process of its own.
func Route(ctx context.Context, l *Lab) error {
	r := &router{sites: l.sites(), broken: make(chan error, 1)}
	if err := r.open(l); err != nil {
		return err
	}
	for from := range r.sites {
		for to := range r.sites {
			if from != to {
				go r.lines[from][to].deliver(ctx)
			}
		}
		go func() { r.broken <- r.forward(from) }()
	}
	socket, err := r.serve(l.file(controlSocket))
	if err != nil {
		return err
	}
	defer socket.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.broken:
		return err
	}
}

// open takes the router's ports, which are devices in the lab's namespace.
func (r *router) open(l *Lab) error {
	for _, site := range r.sites {
		device, err := openTap(l.Name, tap(site))
		if err != nil {
			return fmt.Errorf("%s: %w", tap(site), err)
		}
		r.taps = append(r.taps, device)
	}
	for range r.sites {
		var row []*line
		for to := range r.sites {
			row = append(row, &line{out: r.taps[to], wake: make(chan struct{}, 1)})
		}
		r.lines = append(r.lines, row)
	}
	return nil
}

// openTap opens a TAP device of a namespace.
func openTap(namespace, name string) (*os.File, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := enterNet(namespace); err != nil {
			done <- result{err: err}
			return
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			done <- result{err: err}
			return
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	return os.NewFile(uintptr(r.fd), name), nil
}

// forward reads what a data center sends and puts it on the line to where it goes.
func (r *router) forward(from int) error {
	frame := make([]byte, frameMost)
	for {
		n, err := r.taps[from].Read(frame)
		if err != nil {
			return fmt.Errorf("%s: %w", r.taps[from].Name(), err)
		}
		if to := target(frame[:n], len(r.sites)); to >= 0 && to != from {
			r.lines[from][to].take(frame[:n])
		}
	}
}

// target is the site where a frame goes, which is addressed to the next hop from there on; -1 for what
// is not forwarded.
func target(frame []byte, sites int) int {
	if len(frame) < frameLeast || binary.BigEndian.Uint16(frame[etherType:]) != typeIPv4 {
		return -1
	}
	to := netip.AddrFrom4([4]byte(frame[ipTarget : ipTarget+4]))
	site := siteOf(to)
	if site < 0 || site >= sites {
		return -1
	}
	copy(frame[0:6], hardware(to))
	copy(frame[6:12], hardware(gateway(site)))
	return site
}

// take sends a frame, now or later, or loses it.
func (l *line) take(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link.cut || l.link.loss > 0 && rand.Float64()*100 < l.link.loss || len(l.queue) >= queueMost {
		return
	}
	wait := l.link.delay
	if l.link.jitter > 0 {
		wait += rand.N(l.link.jitter)
	}
	if wait == 0 && len(l.queue) == 0 {
		_, _ = l.out.Write(frame) // a full device loses it, as a full link does
		return
	}
	due := time.Now().Add(wait)
	if n := len(l.queue); n > 0 && due.Before(l.queue[n-1].due) {
		due = l.queue[n-1].due // jitter does not let packets overtake each other
	}
	l.queue = append(l.queue, packet{due, bytes.Clone(frame)})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// deliver sends what has been under way long enough.
func (l *line) deliver(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.flush(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// flush sends what is due, and says how long to wait for the next.
func (l *line) flush(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		if left := l.queue[0].due.Sub(now); left > 0 {
			return left
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		if !l.link.cut {
			_, _ = l.out.Write(next.frame)
		}
	}
	return time.Hour
}
