// Command pgctl runs PostgreSQL clusters on plain servers: it is the daemon on every server and the
// command line of operators. Every command has a file of its own; the daemon's are the only ones that
// know more of the product than its REST API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
)

func main() {
	os.Exit(run(newApp(replay, daemonCommand(), guardCommand(), devCommand()), os.Args, os.Stderr))
}

// exitHelp stands in the help of pgctl and in docs/rest.md.
const exitHelp = `EXIT STATUS:
   0    done; status: everything is well
   1    failed for another reason than those below
   2    wrong usage, or a request that can never work (invalid)
   3    status: something is degraded
   4    status: something is down
   5    no such cluster, instance, host, user ... (not_found)
   6    the state is not the one that was assumed (conflict)
   7    nobody can do it now: no daemon answers, no quorum; try again (unavailable)
   8    the certificate is missing or not accepted (unauthorized)
   9    refused, because it would endanger data (refused)
   10   diff: there are differences
   130  interrupted; what was ordered goes on
`

// The exit statuses that are not those of an error's code.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDegraded    = 3
	exitDown        = 4
	exitDifferent   = 10
	exitInterrupted = 130
)

// exitOf says how a program ends with an error of a code.
var exitOf = map[pgctl.Code]int{
	pgctl.CodeInvalid:      exitUsage,
	pgctl.CodeNotFound:     5,
	pgctl.CodeConflict:     6,
	pgctl.CodeUnavailable:  7,
	pgctl.CodeUnauthorized: 8,
	pgctl.CodeRefused:      9,
	pgctl.CodeInternal:     exitFailed,
}

// exitError ends the program with a status and without a message: everything was said.
type exitError int

// Error is never shown.
func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// newApp puts the commands together. What is not the client's is handed over: how a decision is made
// again, and the commands that run daemons.
func newApp(replay replayFunc, others ...*cli.Command) *cli.App {
	app := &cli.App{
		Name:  "pgctl",
		Usage: "PostgreSQL clusters on plain servers",
		UsageText: "pgctl [--context NAME] COMMAND [options] [arguments]\n\n" +
			"pgctl apply -f shop.yaml --wait   declare a cluster and see it come up\n" +
			"pgctl status                      what is not well, why, and what to do",
		Version:         version(),
		HideVersion:     true,
		HideHelpCommand: true,
		Flags:           clientFlags(),
		Commands: append(others,
			applyCommand(), diffCommand(), listCommand(), showCommand(), statusCommand(), deleteCommand(),
			undeleteCommand(), eventsCommand(), switchoverCommand(), failoverCommand(), pauseCommand(), resumeCommand(), reloadCommand(), restartCommand(),
			reinitCommand(), historyCommand(), psqlCommand(), dsnCommand(),
			passwordCommand(), hostsCommand(), serversCommand(), settingsCommand(), snapshotCommand(), debugCommand(replay), versionCommand(),
			completionCommand(),
		),
		EnableBashCompletion:  true,
		CustomAppHelpTemplate: cli.AppHelpTemplate + "\n" + exitHelp,
		ExitErrHandler:        func(*cli.Context, error) {}, // run decides
		OnUsageError:          func(_ *cli.Context, err error, _ bool) error { return usageError("%v", err) },
	}
	for _, c := range app.Commands {
		c.HideHelpCommand = true
		c.OnUsageError = app.OnUsageError
	}
	return app
}

// run is the program: it returns the exit status.
func run(app *cli.App, args []string, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	status, ok := errors.AsType[exitError](err)
	switch {
	case err == nil:
		return 0
	case ok:
		return int(status)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "pgctl: interrupted; what was ordered goes on, pgctl status shows it")
		return exitInterrupted
	}
	if f, ok := errors.AsType[formatted](err); ok {
		f.show(stderr)
	} else {
		fmt.Fprintf(stderr, "pgctl: %s\n", message(err))
	}
	return exitOf[pgctl.CodeOf(err)]
}

// message is what people see of an error, the hint on a line of its own.
func message(err error) string {
	e, ok := errors.AsType[*pgctl.Error](err)
	if !ok {
		return err.Error()
	}
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Hint != "" {
		text += "\n  " + e.Hint
	}
	return text
}

// usageError is a command line that cannot be right.
func usageError(format string, args ...any) *pgctl.Error {
	return pgctl.Errorf(pgctl.CodeInvalid, format, args...)
}
