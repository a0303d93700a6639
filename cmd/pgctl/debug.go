package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api/client"
)

// replayFunc decides on a view again and returns the decision, both JSON.
type replayFunc func(view []byte) (decision []byte, err error)

func debugCommand(replay replayFunc) *cli.Command {
	return &cli.Command{
		Name: "debug", Usage: "see and repeat decisions; collect what a bug report needs",
		Subcommands: []*cli.Command{
			{
				Name: "view", ArgsUsage: "NAME", Usage: "print what a cluster's leadership is decided on, as JSON",
				Flags: clientFlags(), BashComplete: completeClusters,
				Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
					view, err := s.api.View(ctx, args[0])
					if err != nil {
						return err
					}
					if s.format == "table" {
						s.format = "json"
					}
					return s.print(view, nil)
				}),
			},
			{
				Name: "replay", ArgsUsage: "[FILE]", Usage: "decide again on what debug view printed (default: standard input)",
				Action: func(c *cli.Context) error { return replayFile(c, replay) },
			},
			{
				Name: "bundle", ArgsUsage: "[FILE]", Usage: "collect state, events and views into a file, without secrets",
				Flags: clientFlags(), Action: action("[FILE]", bundle),
			},
		},
	}
}

// replayFile needs no daemon: the decision is a pure function.
func replayFile(c *cli.Context, replay replayFunc) error {
	if err := checkArguments(c.Command, "[FILE]", c.Args().Slice()); err != nil {
		return err
	}
	from := c.App.Reader
	if path := c.Args().First(); path != "" && path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return usageError("cannot read the view: %v", err)
		}
		defer file.Close()
		from = file
	}
	view, err := io.ReadAll(from)
	if err != nil {
		return usageError("cannot read the view: %v", err)
	}
	decision, err := replay(view)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s\n", decision)
	return err
}

// bundle collects what the API says into an archive. What cannot be had is noted in it.
func bundle(ctx context.Context, s *session, args []string) error {
	path := "pgctl-bundle.tar.gz"
	if len(args) == 1 {
		path = args[0]
	}
	clusters, err := s.api.Clusters(ctx, client.Read{})
	if err != nil {
		return err
	}
	parts := map[string]func() (any, error){
		"version.json": func() (any, error) { return s.api.Version(ctx) },
		"status.json":  func() (any, error) { return s.api.Statuses(ctx, client.Read{}) },
		"hosts.json":   func() (any, error) { return s.api.Hosts(ctx, client.Read{}) },
		"servers.json": func() (any, error) { return s.api.Servers(ctx) },
		"events.json":  func() (any, error) { return s.api.Events(ctx, "", 0) },
	}
	for _, c := range clusters.Clusters {
		parts["clusters/"+c.Name+".json"] = func() (any, error) { return s.api.Cluster(ctx, c.Name, client.Read{}) }
		parts["views/"+c.Name+".json"] = func() (any, error) { return s.api.View(ctx, c.Name) }
	}
	size, err := writeWhole(path, func(w io.Writer) (int64, error) { return writeBundle(ctx, s, w, parts) })
	if err != nil {
		return err
	}
	s.say("%s: %d parts, %s", path, len(parts), bytesText(size))
	return nil
}

// writeBundle writes the archive and returns the size of its contents.
func writeBundle(ctx context.Context, s *session, w io.Writer, parts map[string]func() (any, error)) (int64, error) {
	zip := gzip.NewWriter(w)
	archive, total, told := tar.NewWriter(zip), int64(0), time.Now()
	names := make([]string, 0, len(parts))
	for name := range parts {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if time.Since(told) > patience {
			told = time.Now()
			s.say("%d of %d parts ...", i, len(names))
		}
		value, err := parts[name]()
		if ctx.Err() != nil {
			return total, ctx.Err()
		}
		if err != nil {
			value = map[string]string{"error": message(err)}
		}
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return total, pgctl.Errorf(pgctl.CodeInternal, "%s: %v", name, err)
		}
		header := &tar.Header{Name: "pgctl-bundle/" + name, Mode: 0o600, Size: int64(len(text))}
		if err := archive.WriteHeader(header); err != nil {
			return total, err
		}
		if _, err := archive.Write(text); err != nil {
			return total, err
		}
		total += header.Size
	}
	if err := archive.Close(); err != nil {
		return total, err
	}
	return total, zip.Close()
}
