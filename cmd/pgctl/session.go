package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

// patience is how long nothing may be printed before people are told what is waited for.
const patience = 2 * time.Second

// session is one run of a command that speaks to a daemon.
type session struct {
	*cli.Context
	api    *client.Client
	format string
	quiet  *time.Timer // says that the daemon takes its time, unless something is shown first
}

// action makes the action of a command. usage names its arguments: "NAME", "[NAME]", "NAME USER".
func action(usage string, do func(context.Context, *session, []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		if err := checkArguments(c.Command, usage, args); err != nil {
			return err
		}
		format := c.String("output")
		if !slices.Contains([]string{"table", "json", "yaml"}, format) {
			return usageError("there is no format %q", format).At("output").WithHint("table, json or yaml")
		}
		config, err := settings(c)
		if err != nil {
			return err
		}
		connection, err := client.New(config)
		if err != nil {
			return err
		}
		defer connection.Close()
		quiet := time.AfterFunc(patience, func() {
			fmt.Fprintf(c.App.ErrWriter, "waiting for an answer of %s ...\n", strings.Join(config.Addresses, ", "))
		})
		defer quiet.Stop()
		err = do(c.Context, &session{Context: c, api: connection, format: format, quiet: quiet}, args)
		if e, ok := errors.AsType[*pgctl.Error](err); ok && format != "table" {
			return formatted{e, format}
		}
		return err
	}
}

// formatted is an error that is to be shown as results are.
type formatted struct {
	error
	format string
}

// Unwrap gives the error itself.
func (f formatted) Unwrap() error { return f.error }

// show writes the error in its format.
func (f formatted) show(w io.Writer) {
	text, err := json.MarshalIndent(f.error, "", "  ")
	if f.format == "yaml" {
		text, err = yaml.Marshal(f.error)
	}
	if err == nil {
		fmt.Fprintln(w, strings.TrimSpace(string(text)))
	}
}

// checkArguments compares the arguments with what the usage says; "[X]" may be missing, "..." is any.
func checkArguments(command *cli.Command, usage string, args []string) error {
	names := strings.Fields(usage)
	least, most := 0, len(names)
	for _, name := range names {
		if name[0] != '[' {
			least++
		}
		if strings.Contains(name, "...") {
			most = len(args)
		}
	}
	switch {
	case len(args) < least:
		return usageError("%s is missing", names[len(args)]).WithHint("usage: %s %s", command.HelpName, command.ArgsUsage)
	case len(args) > max(most, least):
		return usageError("%q is one argument too many", args[most]).
			WithHint("usage: %s %s", command.HelpName, command.ArgsUsage)
	}
	for _, arg := range args {
		if arg == "" {
			return usageError("a name must not be empty").WithHint("usage: %s %s", command.HelpName, command.ArgsUsage)
		}
	}
	return nil
}

// print shows a value as it was asked for. table writes lines of cells with tabs between them.
func (s *session) print(value any, table func(w io.Writer)) error {
	s.quiet.Stop()
	out := s.App.Writer
	switch s.format {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "yaml":
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	var buffer strings.Builder
	w := tabwriter.NewWriter(&buffer, 0, 0, 2, ' ', 0)
	table(w)
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(buffer.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
	return nil
}

// say tells people something that is not the result: it goes to standard error.
func (s *session) say(format string, args ...any) {
	s.quiet.Stop()
	fmt.Fprintf(s.App.ErrWriter, format+"\n", args...)
}

// terminal says whether somebody can be asked.
func terminal() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	return err == nil
}

// ask reads one line from the terminal.
func (s *session) ask(question string) string {
	s.quiet.Stop()
	fmt.Fprint(s.App.ErrWriter, question)
	line, err := bufio.NewReader(s.App.Reader).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(s.App.ErrWriter)
	}
	return strings.TrimSpace(line)
}

// await polls until done says so, and shows a cluster's events meanwhile. It fails after limit.
func (s *session) await(ctx context.Context, name string, after uint64, limit time.Duration,
	done func(context.Context) (finished bool, now string, err error),
) error {
	s.quiet.Stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = s.api.Follow(ctx, name, after, func(e pgctl.Event) error {
			s.say("%s  %s", e.At.Local().Format("15:04:05"), eventText(e))
			return nil
		})
	}()
	defer func() { cancel(); <-followed }()
	now, told, ticker := "", time.Now(), time.NewTicker(250*time.Millisecond)
	defer ticker.Stop()
	for {
		finished, text, err := done(ctx)
		if err != nil && pgctl.CodeOf(err) != pgctl.CodeUnavailable && ctx.Err() == nil {
			return err
		}
		if finished {
			return nil
		}
		if err != nil {
			text = message(err)
		}
		if ctx.Err() != nil {
			text = now
		}
		if text != now || time.Since(told) > 10*time.Second {
			now, told = text, time.Now()
			s.say("%s  %s: %s", told.Format("15:04:05"), name, now)
		}
		select {
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return pgctl.Errorf(pgctl.CodeUnavailable, "cluster %s is not ready after %s: %s", name, limit, now).
					WithHint("what was ordered goes on; pgctl status %s says what it waits for", name)
			}
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// blindPatience is how long a server may hear no heartbeats because it has just started.
const blindPatience = 5 * time.Second

// awaitHealthy waits until a cluster is well and as declared, or stopped because that was asked for.
func (s *session) awaitHealthy(ctx context.Context, name string, after uint64, limit time.Duration) error {
	began := time.Now()
	return s.await(ctx, name, after, limit, func(ctx context.Context) (bool, string, error) {
		status, err := s.api.Status(ctx, name, client.Read{})
		if err == nil && status.Blind && time.Since(began) > blindPatience {
			return false, "", pgctl.Errorf(pgctl.CodeInvalid, "the daemon that answers hears no heartbeats, so it cannot tell").
				At("address").WithHint("what was ordered goes on; ask a server: pgctl servers lists them")
		}
		finished := !status.Blind && status.Index >= after && (status.Health == api.LevelWell || status.Health == api.LevelStopped)
		if finished {
			s.say("%s: %s", name, status.Summary)
		}
		return finished, status.Summary, err
	})
}
