package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
	"github.com/pgctl/pgctl/packaging"
)

// release is set by the linker: -X main.release=1.2.3.
var release string

// version is the release, or what the Go tool knows of the source.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version of this program, or of a daemon",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "daemon", Usage: "ask the daemon that answers"},
		}, clientFlags()),
		Action: func(c *cli.Context) error {
			if c.Bool("daemon") {
				return action("", func(ctx context.Context, s *session, _ []string) error {
					out, err := s.api.Version(ctx)
					if err != nil {
						return err
					}
					return s.print(out, func(w io.Writer) {
						fmt.Fprintf(w, "pgctl %s on host %s, %s\n", out.Version, out.Host, out.Go)
					})
				})(c)
			}
			s := &session{Context: c, format: c.String("output"), quiet: time.NewTimer(0)}
			return s.print(api.Version{Version: version(), Go: runtime.Version()}, func(w io.Writer) {
				fmt.Fprintf(w, "pgctl %s, %s\n", version(), runtime.Version())
			})
		},
	}
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", ArgsUsage: "bash|zsh|fish", Usage: "print what lets a shell complete commands and names",
		Description: "bash: source <(pgctl completion bash)\nzsh:  source <(pgctl completion zsh)\n" +
			"fish: pgctl completion fish | source",
		Action: func(c *cli.Context) error {
			if err := checkArguments(c.Command, "SHELL", c.Args().Slice()); err != nil {
				return err
			}
			shell := c.Args().First()
			script, err := fs.ReadFile(packaging.Files, "completions/pgctl."+shell)
			if err != nil {
				return usageError("there is no completion for %q", shell).WithHint("bash, zsh or fish")
			}
			_, err = c.App.Writer.Write(script)
			return err
		},
	}
}

// completeClusters lists the names of clusters, quickly or not at all, and the options.
func completeClusters(c *cli.Context) {
	cli.DefaultCompleteWithFlags(c.Command)(c)
	config, err := settings(c)
	if err != nil || c.NArg() > 0 {
		return
	}
	connection, err := client.New(config)
	if err != nil {
		return
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(c.Context, time.Second)
	defer cancel()
	list, err := connection.Clusters(ctx, client.Read{})
	if err != nil {
		return
	}
	for _, cluster := range list.Clusters {
		fmt.Fprintln(c.App.Writer, cluster.Name)
	}
}
