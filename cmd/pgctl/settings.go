package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl/node/api"
)

// settingsCommand reads and writes the operator configuration.
func settingsCommand() *cli.Command {
	return &cli.Command{
		Name: "settings", Usage: "show or change the operator configuration",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "print all keys with their values", Flags: clientFlags(),
				Action: action("", func(ctx context.Context, s *session, _ []string) error {
					out, err := s.api.Settings(ctx)
					if err != nil {
						return err
					}
					return s.print(out.Settings, func(w io.Writer) {
						fmt.Fprintln(w, "KEY\tREVISION\tVALUE")
						for _, e := range out.Settings {
							fmt.Fprintf(w, "%s\t%d\t%s\n", e.Key, e.Revision, e.Value)
						}
					})
				}),
			},
			{
				Name: "get", ArgsUsage: "KEY", Usage: "print a value, which is JSON", Flags: clientFlags(),
				Action: action("KEY", func(ctx context.Context, s *session, args []string) error {
					out, err := s.api.Setting(ctx, args[0])
					return s.setting(out, err)
				}),
			},
			{
				Name: "set", ArgsUsage: "KEY VALUE", Usage: "write a value; what is not JSON is taken as a text",
				Flags: slices.Concat([]cli.Flag{
					&cli.Uint64Flag{Name: "revision", Usage: "only if the value still is of this `REVISION`; 0: only if there is none"},
				}, clientFlags()),
				Action: action("KEY VALUE", setSetting),
			},
		},
	}
}

// setSetting writes a value, on condition if one is given.
func setSetting(ctx context.Context, s *session, args []string) error {
	value := json.RawMessage(args[1])
	if !json.Valid(value) {
		text, err := json.Marshal(args[1])
		if err != nil {
			return err
		}
		value = text
	}
	var revision *uint64
	if s.IsSet("revision") {
		n := s.Uint64("revision")
		revision = &n
	}
	out, err := s.api.PutSetting(ctx, args[0], value, revision)
	return s.setting(out, err)
}

// setting shows a value.
func (s *session) setting(out api.Setting, err error) error {
	if err != nil {
		return err
	}
	return s.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s\n", out.Value) })
}
