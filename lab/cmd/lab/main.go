// Command lab is several real hosts on this machine, and what can happen to hosts. It is for developers,
// and no part of the product. lab/DESIGN.md explains it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgctl/pgctl/lab/hosts"
)

const usage = `Usage: lab [-name NAME] COMMAND

  up [-sites 1,1,1] [-pgctl bin/pgctl]   make the hosts, or give them power again; hosts per data center
  down [-purge]                          take the power away; with -purge remove everything
  status                                 list the hosts
  ssh HOST [COMMAND]                     log in through the network
  exec HOST COMMAND                      run something on a host, whatever the network is like
  client COMMAND                         run something where the clients are: lab client bin/pgctl status

  kill|start HOST                        power
  freeze|thaw HOST                       a host that stands still
  isolate HOST [-out|-in]                from everybody; or only what it sends, or what it receives
  cut A B [-one-way] [-ports 7432-7436]  between hosts, data centers or "client"; one-way: from A to B
  delay DC1 DC2 TIME [JITTER]            in each direction: lab delay a b 5ms 2ms
  lose PERCENT                           of the packets between data centers and from and to clients
  fill-disk|stall-disk HOST              of /var/lib/pgctl
  clock HOST DURATION                    how far its monotonic clocks are ahead, from its next start on
  heal                                   end all of these faults; power comes back with start
`

// cli is one call of the program.
type cli struct {
	name string
	lab  *hosts.Lab // where the command needs one that exists
	args []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		os.Exit(ended.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	name := flags.String("name", hosts.DefaultName, "of the lab")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		if err == nil || errors.Is(err, flag.ErrHelp) {
			flags.Usage()
			return nil
		}
		return err
	}
	c := &cli{name: *name, args: flags.Args()[1:]}
	command := flags.Arg(0)
	if command == "up" {
		return c.up(ctx)
	}
	var err error
	if c.lab, err = hosts.Open(c.name); err != nil {
		return err
	}
	do, known := map[string]func(context.Context) error{
		"down": c.down, "status": c.status, "ssh": c.ssh, "exec": c.exec, "client": c.client, "route": c.route,
		"kill": c.onHost(c.lab.Kill), "start": c.onHost(c.lab.Start),
		"freeze": c.onHost(c.lab.Freeze), "thaw": c.onHost(c.lab.Thaw),
		"fill-disk":  c.onHost(func(_ context.Context, h hosts.Host) error { return c.lab.FillDisk(h) }),
		"stall-disk": c.onHost(func(_ context.Context, h hosts.Host) error { return c.lab.StallDisk(h) }),
		"isolate":    c.isolate, "cut": c.cut, "delay": c.delay, "lose": c.lose, "clock": c.clock,
		"heal": c.lab.Heal,
	}[command]
	if !known {
		return fmt.Errorf("there is no command %q; lab -h lists them", command)
	}
	return do(ctx)
}

// parse takes flags that stand anywhere among the arguments, and checks how many others there are.
func (c *cli) parse(flags *flag.FlagSet, least, most int) error {
	flags.SetOutput(os.Stderr)
	var rest []string
	for left := c.args; len(left) > 0; {
		if err := flags.Parse(left); err != nil {
			return err
		}
		if left = flags.Args(); len(left) > 0 {
			rest, left = append(rest, left[0]), left[1:]
		}
	}
	if c.args = rest; len(rest) < least || len(rest) > most {
		return fmt.Errorf("%d arguments; lab -h shows what is expected", len(rest))
	}
	return nil
}

func (c *cli) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (c *cli) up(ctx context.Context) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	sites := flags.String("sites", "", "hosts of each data center; a new lab has 1,1,1")
	program := flags.String("pgctl", "bin/pgctl", "the static binary")
	if err := c.parse(flags, 0, 0); err != nil {
		return err
	}
	config := hosts.Config{Name: c.name}
	for count := range strings.FieldsFuncSeq(*sites, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(count)
		if err != nil {
			return fmt.Errorf("-sites: %w", err)
		}
		config.Sites = append(config.Sites, n)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	lab, err := hosts.Up(ctx, config, hosts.Programs{Pgctl: *program, Router: []string{self, "-name", c.name, "route"}}, c.say)
	if err != nil {
		return err
	}
	c.say("up after %.1f s. Try: lab client bin/pgctl hosts (with PGCTL_CONFIG=%s)", time.Since(began).Seconds(), lab.Operator().Config)
	return nil
}

func (c *cli) down(ctx context.Context) error {
	flags := flag.NewFlagSet("down", flag.ContinueOnError)
	purge := flags.Bool("purge", false, "remove the hosts' disks too")
	if err := c.parse(flags, 0, 0); err != nil {
		return err
	}
	return c.lab.Down(ctx, *purge)
}

func (c *cli) status(context.Context) error {
	for _, h := range c.lab.Hosts() {
		power, server := "off", ""
		if c.lab.Runs(h) {
			power = "on"
		}
		if h.Server {
			server = "server"
		}
		fmt.Printf("%-4s %-3s %-12s %-4s %s\n", h.Name, h.DataCenter, h.Address, power, server)
	}
	return nil
}

// route is the router's process.
func (c *cli) route(ctx context.Context) error { return hosts.Route(ctx, c.lab) }

// host takes the first argument away, which names a host.
func (c *cli) host() (hosts.Host, error) {
	if len(c.args) == 0 {
		return hosts.Host{}, errors.New("a host is not named; lab status lists them")
	}
	h, err := c.lab.Host(c.args[0])
	c.args = c.args[1:]
	return h, err
}

func (c *cli) onHost(do func(context.Context, hosts.Host) error) func(context.Context) error {
	return func(ctx context.Context) error {
		h, err := c.host()
		if err == nil && len(c.args) > 0 {
			err = fmt.Errorf("%q: one host at a time", c.args)
		}
		if err != nil {
			return err
		}
		return do(ctx, h)
	}
}

func attached(c *exec.Cmd) error {
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

func (c *cli) ssh(ctx context.Context) error {
	h, err := c.host()
	if err != nil {
		return err
	}
	return attached(c.lab.SSH(ctx, h, c.args...))
}

func (c *cli) exec(ctx context.Context) error {
	h, err := c.host()
	if err != nil {
		return err
	}
	command, err := c.lab.Command(ctx, h, c.args...)
	if err != nil {
		return err
	}
	return attached(command)
}

func (c *cli) client(ctx context.Context) error {
	if len(c.args) == 0 {
		return errors.New("a command is missing")
	}
	command := c.lab.ClientCommand(ctx, c.args...)
	command.Env = append(os.Environ(), "PGCTL_CONFIG="+c.lab.Operator().Config)
	return attached(command)
}
