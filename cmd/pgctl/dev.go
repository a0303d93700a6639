package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
)

// devCommand is a whole installation on this machine, to play with.
func devCommand() *cli.Command {
	commands := []*cli.Command{
		{
			Name: "up", Usage: "make a playground of several hosts, or start the one that is there",
			Flags: []cli.Flag{&cli.IntFlag{Name: "hosts", Usage: "how many hosts a new playground gets (3)"}},
			Action: func(c *cli.Context) error {
				return devUp(c.Context, c.String("dir"), c.Int("hosts"), sayTo(c.App.Writer))
			},
		},
		{
			Name: "down", Usage: "stop all daemons and Postgres servers; the data stays",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "purge", Usage: "remove the playground with all its data"}},
			Action: withPlayground("", devDown),
		},
		{Name: "status", Usage: "list the hosts and what runs there", Action: withPlayground("", devStatus)},
		{
			Name: "logs", ArgsUsage: "[HOST]", Usage: "show what the daemons say",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until interrupted"}},
			Action: withPlayground("[HOST]", devLogs),
		},
		{
			Name: "kill", ArgsUsage: "HOST", Usage: "lose a host: SIGKILL for daemon, guard and Postgres servers",
			Action: withPlayground("HOST", func(c *cli.Context, p *playground, args []string) error {
				h, err := p.host(args[0])
				if err == nil {
					err = h.kill(c.Context)
				}
				if err == nil {
					sayTo(c.App.Writer)("%s is dead; `pgctl dev start %s` brings it back", h.Name, h.Name)
				}
				return err
			}),
		},
		{
			Name: "start", ArgsUsage: "HOST", Usage: "start the daemon of a host again",
			Action: withPlayground("HOST", devStart),
		},
		{
			Name: "demo", Usage: "show a failover in a playground of its own, and remove that",
			Action: func(c *cli.Context) error { return devDemo(c.Context, c.String("dir"), sayTo(c.App.Writer)) },
		},
	}
	for _, c := range commands {
		c.Flags = append(c.Flags, &cli.StringFlag{
			Name: "dir", EnvVars: []string{"PGCTL_DEV_DIR"},
			Usage: "`FOLDER` of the playground; without it " + devRootFolder +
				", or ~/.local/share/pgctl-dev for users other than root",
		})
		c.HideHelpCommand = true
	}
	return &cli.Command{
		Name: "dev", Usage: "several hosts on this machine, to play with", Subcommands: commands,
	}
}

func sayTo(w io.Writer) sayFunc {
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// devFolder is the folder named or the usual one; suffix sets another apart from it.
func devFolder(named, suffix string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := defaultPlayground()
	return dir + suffix, err
}

// withPlayground makes an action on a playground that exists.
func withPlayground(usage string, do func(*cli.Context, *playground, []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		if err := checkArguments(c.Command, usage, args); err != nil {
			return err
		}
		dir, err := devFolder(c.String("dir"), "")
		if err != nil {
			return err
		}
		p, err := openPlayground(dir)
		if err != nil {
			return err
		}
		return do(c, p, args)
	}
}

func devUp(ctx context.Context, dir string, hosts int, say sayFunc) error {
	dir, err := devFolder(dir, "")
	if err != nil {
		return err
	}
	command, err := devDaemon()
	if err != nil {
		return err
	}
	if _, err := openPlayground(dir); hosts == 0 && pgctl.CodeOf(err) == pgctl.CodeNotFound {
		hosts = 3
	}
	p, err := prepare(dir, hosts, time.Now(), say)
	if err != nil {
		return err
	}
	if err := p.up(ctx, command, say); err != nil {
		return err
	}
	found, err := p.offerContext()
	if err != nil {
		return err
	}
	if !found {
		say("\nYou have a configuration of your own. So that commands speak to this playground:\n\n"+
			"    export PGCTL_CONFIG=%s", p.contextFile())
	}
	say("\nTry: pgctl hosts; pgctl apply -f examples/shop.yaml --wait; pgctl dev kill dev-1\nThe end: pgctl dev down")
	return nil
}

func devDown(c *cli.Context, p *playground, _ []string) error {
	say := sayTo(c.App.Writer)
	if err := p.stop(c.Context, say); err != nil {
		return err
	}
	if !c.Bool("purge") {
		say("stopped; the data is in %s, `pgctl dev up` starts it again, `pgctl dev down --purge` removes it", p.Dir)
		return nil
	}
	if err := p.withdrawContext(); err != nil {
		return err
	}
	if err := p.remove(); err != nil {
		return err
	}
	say("stopped, and %s removed", p.Dir)
	return nil
}

func devStart(c *cli.Context, p *playground, args []string) error {
	h, err := p.host(args[0])
	if err != nil {
		return err
	}
	command, err := devDaemon()
	if err != nil {
		return err
	}
	if err := h.startAll(command); err != nil {
		return err
	}
	id, _ := h.daemon()
	sayTo(c.App.Writer)("%s: daemon on %s (process %d)", h.Name, h.Address, id.PID)
	return nil
}

// devStatus shows what runs as the machine sees it, and as the daemons tell if they answer.
func devStatus(c *cli.Context, p *playground, _ []string) error {
	api, err := client.New(p.clientConfig())
	if err != nil {
		return err
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(c.Context, 3*time.Second)
	defer cancel()
	instances := map[string][]string{}
	known, apiErr := api.Hosts(ctx, client.Read{})
	for _, h := range known.Hosts {
		instances[h.Name] = h.Instances
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tDATA CENTER\tADDRESS\tDAEMON\tGUARD\tPOSTGRES\tINSTANCES")
	for _, h := range p.hosts() {
		daemon, guard := "stopped", "stopped"
		if id, runs := h.daemon(); runs {
			daemon = fmt.Sprintf("process %d", id.PID)
		}
		if id, runs := h.guard(); runs {
			guard = fmt.Sprintf("process %d", id.PID)
		}
		servers, err := h.postmasters()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d running\t%s\n", h.Name, h.DataCenter, h.Address, daemon, guard, len(servers),
			dash(strings.Join(instances[h.Name], ",")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if apiErr != nil {
		fmt.Fprintf(c.App.Writer, "\n%s\n", message(apiErr))
		return nil
	}
	statuses, err := api.Statuses(ctx, client.Read{})
	for _, s := range statuses.Clusters {
		fmt.Fprintf(c.App.Writer, "\n%s: %s\n", s.Name, s.Summary)
	}
	return err
}

// devLogs prints the daemons' logs, one after the other; following, as they grow.
func devLogs(c *cli.Context, p *playground, args []string) error {
	hosts := p.hosts()
	if len(args) > 0 {
		h, err := p.host(args[0])
		if err != nil {
			return err
		}
		hosts = []devHost{h}
	}
	offsets := make([]int64, len(hosts))
	for {
		for i, h := range hosts {
			prefix := ""
			if len(hosts) > 1 {
				prefix = h.Name + "  "
			}
			n, err := copyLines(c.App.Writer, h.log(), offsets[i], prefix)
			if err != nil {
				return err
			}
			offsets[i] += n
		}
		if !c.Bool("follow") {
			return nil
		}
		select {
		case <-c.Context.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// copyLines prints the whole lines of a file from an offset on, and returns how many bytes these were.
func copyLines(w io.Writer, path string, offset int64, prefix string) (int64, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return 0, nil // never started
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<30))
	if err != nil {
		return 0, err
	}
	end := strings.LastIndexByte(string(text), '\n') + 1
	for line := range strings.Lines(string(text[:end])) {
		if _, err := io.WriteString(w, prefix+line); err != nil {
			return 0, err
		}
	}
	return int64(end), nil
}
