package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
)

func hostsCommand() *cli.Command {
	return &cli.Command{
		Name: "hosts", Usage: "list the hosts", Flags: clientFlags(),
		Action: action("", func(ctx context.Context, s *session, _ []string) error {
			out, err := s.api.Hosts(ctx, client.Read{})
			if err != nil {
				return err
			}
			return s.print(out.Hosts, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tDATA CENTER\tADDRESS\tSERVER\tVERSION\tPOSTGRES\tHEARD\tINSTANCES")
				for _, h := range out.Hosts {
					var versions []string
					for _, p := range h.Postgres {
						versions = append(versions, p.Version)
					}
					server := "-"
					if h.Server {
						server = "yes"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, dash(h.DataCenter), h.Address, server,
						dash(h.Version), dash(strings.Join(versions, ",")), heard(h.HeardMs), dash(strings.Join(h.Instances, ",")))
				}
			})
		}),
	}
}

// heard is an age that may be unknown.
func heard(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return ago(*ms)
}

func serversCommand() *cli.Command {
	return &cli.Command{
		Name: "servers", Usage: "list the daemons that hold the replicated state", Flags: clientFlags(),
		Action: action("", func(ctx context.Context, s *session, _ []string) error {
			out, err := s.api.Servers(ctx)
			if err != nil {
				return err
			}
			return s.print(out.Servers, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tDATA CENTER\tADDRESS\tROLE\tINDEX\tHEARD")
				for _, v := range out.Servers {
					index := "-"
					if v.Index > 0 {
						index = fmt.Sprint(v.Index)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
						v.Name, dash(v.DataCenter), v.Address, v.Role, index, heard(v.HeardMs))
				}
			})
		}),
	}
}

func snapshotCommand() *cli.Command {
	return &cli.Command{
		Name: "snapshot", Usage: "save or restore the replicated state",
		Subcommands: []*cli.Command{
			{
				Name: "save", ArgsUsage: "FILE", Usage: "copy the state into a file; it holds encrypted secrets",
				Flags: clientFlags(), Action: action("FILE", saveSnapshot),
			},
			{
				Name: "restore", ArgsUsage: "FILE", Usage: "replace the state of the whole installation by a saved one",
				Description: "The state can be older than the data then: the leadership of every cluster is unknown until its\n" +
					"running leader confirms it, or an operator names one (pgctl failover NAME --to INSTANCE).",
				Flags: slices.Concat([]cli.Flag{
					&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
				}, clientFlags()),
				Action: action("FILE", restoreSnapshot),
			},
		},
	}
}

// saveSnapshot puts a whole snapshot in place, or nothing.
func saveSnapshot(ctx context.Context, s *session, args []string) error {
	size, err := writeWhole(args[0], func(w io.Writer) (int64, error) { return s.api.SaveSnapshot(ctx, w) })
	if err != nil {
		return err
	}
	s.say("%s: %s", args[0], bytesText(size))
	return nil
}

// writeWhole writes a file that only its owner can read, under another name until it is complete.
func writeWhole(path string, write func(io.Writer) (int64, error)) (int64, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, usageError("cannot write %s: %v", path, err)
	}
	defer os.Remove(file.Name()) // it has its final name if all went well
	size, err := write(file)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return size, err
}

// restoreSnapshot asks and restores.
func restoreSnapshot(ctx context.Context, s *session, args []string) error {
	file, err := os.Open(args[0])
	if err != nil {
		return usageError("cannot read the snapshot: %v", err)
	}
	defer file.Close()
	if !s.Bool("yes") {
		if !terminal() {
			return pgctl.Errorf(pgctl.CodeRefused, "a restore replaces the state of every cluster").
				WithHint("nothing was restored; --yes restores")
		}
		if s.ask("The state of every cluster will be replaced. Type restore: ") != "restore" {
			return pgctl.Errorf(pgctl.CodeRefused, "nothing was restored")
		}
	}
	out, err := s.api.RestoreSnapshot(ctx, file)
	return s.changed(out, err)
}
