package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started here.
type process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
}

// start runs a binary, with its output in a log file in folder.
func start(folder, binary string, args ...string) (*process, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(binary, args...), log: filepath.Join(folder, "log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command.Stdout, p.command.Stderr = log, log
	// A group of its own: an interrupt at the terminal reaches only us, and we end it in order.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop asks it to end, insists after five seconds, and waits for it.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// group is the three processes of one system.
type group []*process

func (g group) stop() {
	for _, p := range g {
		p.stop()
	}
}

// cpu adds up the processor time of the three, with a resolution of 10 ms.
func (g group) cpu() time.Duration {
	var ticks int64
	for _, p := range g {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
		if err != nil {
			continue // it ended; the requests will say so
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // state is the third of proc(5), utime the 14th, stime the 15th
		for _, field := range fields[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ready calls try until it succeeds. When a process ends meanwhile, or after half a minute, the error
// holds the end of a log.
func (g group) ready(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		attempt, end := context.WithTimeout(ctx, 2*time.Second)
		err := try(attempt)
		end()
		if err == nil {
			return nil
		}
		for _, p := range g {
			select {
			case <-p.ended:
				return fmt.Errorf("%s ended. Its log:\n%s", p.command.Path, tail(p.log))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w\n%s", err, tail(g[0].log))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// freeAddresses picks n addresses on an IP whose ports are free for TCP and UDP.
func freeAddresses(ip string, n int) ([]string, error) {
	var found []string
	for attempts := 0; len(found) < n; attempts++ {
		tcp, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			return nil, err
		}
		defer tcp.Close() // when all are found, so that no port is given twice
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil && attempts > 100 {
			return nil, errors.Join(errors.New("no ports are free for both TCP and UDP"), err)
		}
		if err != nil {
			continue
		}
		defer udp.Close()
		found = append(found, tcp.Addr().String())
	}
	return found, nil
}

// newHTTP makes the client that both systems are read with: HTTP/1.1, a connection for each worker.
func newHTTP(workers int) *http.Client {
	transport := &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: workers, IdleConnTimeout: time.Minute}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}
