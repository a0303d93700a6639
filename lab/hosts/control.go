package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

const (
	controlSocket = "router.sock"
	controlLimit  = 5 * time.Second
)

// request is what a command tells the router; the answer is a text, empty when it was done.
type request struct {
	Do      string        `json:"do"`             // ask, reset, delay, lose, cut
	From    string        `json:"from,omitempty"` // data centers: where the packets come from
	To      string        `json:"to,omitempty"`   // and where they go
	Delay   time.Duration `json:"delay,omitempty"`
	Jitter  time.Duration `json:"jitter,omitempty"`
	Percent float64       `json:"percent,omitempty"`
}

// serve answers commands on a socket, until that is closed.
func (r *router) serve(path string) (net.Listener, error) {
	_ = os.Remove(path) // of a router that was killed
	socket, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			go r.answer(conn)
		}
	}()
	return socket, nil
}

func (r *router) answer(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(controlLimit))
	var asked request
	err := json.NewDecoder(conn).Decode(&asked)
	if err == nil {
		err = r.obey(asked)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	_ = json.NewEncoder(conn).Encode(text) // who asked is gone otherwise
}

// obey changes links: one, or all of them. A packet that is under way arrives as it would have, unless
// its link is cut.
func (r *router) obey(asked request) error {
	var change func(*link)
	switch asked.Do {
	case "ask":
		return nil
	case "reset":
		r.change(func(l *link) { *l = link{} })
		return nil
	case "lose":
		r.change(func(l *link) { l.loss = asked.Percent })
		return nil
	case "delay":
		change = func(l *link) { l.delay, l.jitter = asked.Delay, asked.Jitter }
	case "cut":
		change = func(l *link) { l.cut = true }
	default:
		return fmt.Errorf("the router does not know %q", asked.Do)
	}
	from, to := slices.Index(r.sites, asked.From), slices.Index(r.sites, asked.To)
	if from < 0 || to < 0 || from == to {
		return fmt.Errorf("there is no link from %q to %q: the data centers are %v", asked.From, asked.To, r.sites)
	}
	r.lines[from][to].change(change)
	return nil
}

func (r *router) change(how func(*link)) {
	for _, row := range r.lines {
		for _, l := range row {
			l.change(how)
		}
	}
}

func (l *line) change(how func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how(&l.link)
}

// tell sends a command to the router.
func (l *Lab) tell(ctx context.Context, asked request) error {
	ctx, cancel := context.WithTimeout(ctx, controlLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.file(controlSocket))
	if err != nil {
		return fmt.Errorf("the router does not answer: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	var refused string
	if err := errors.Join(json.NewEncoder(conn).Encode(asked), json.NewDecoder(conn).Decode(&refused)); err != nil {
		return err
	}
	if refused != "" {
		return errors.New(refused)
	}
	return nil
}
