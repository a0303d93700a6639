package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "replica", Usage: "for reads only: a standby where there is one"},
		&cli.StringFlag{Name: "user", Aliases: []string{"U"}, Usage: "`ROLE`; default: the database's owner"},
		&cli.StringFlag{Name: "database", Aliases: []string{"d"}, Usage: "`NAME`; default: the only one declared"},
	}
}

func psqlCommand() *cli.Command {
	return &cli.Command{
		Name: "psql", ArgsUsage: "NAME [-- PSQL-ARGUMENTS]", Usage: "open psql on a cluster's leader, or on a standby",
		Flags: slices.Concat(targetFlags(), clientFlags()), BashComplete: completeClusters,
		Action: action("NAME [ARGUMENTS...]", psql),
	}
}

// psql becomes psql. The password goes through the environment, which other users cannot read.
func psql(ctx context.Context, s *session, args []string) error {
	path, err := exec.LookPath("psql")
	if err != nil {
		return pgctl.Errorf(pgctl.CodeUnavailable, "there is no psql on this machine").
			WithHint("Debian, Ubuntu: apt install postgresql-client; Fedora, RHEL: dnf install postgresql; "+
				"or use another client with pgctl dsn %s and pgctl password %[1]s USER", args[0])
	}
	target, strings, err := s.connection(ctx, args[0])
	if err != nil {
		return err
	}
	password, err := s.api.Password(ctx, args[0], target.User)
	if err != nil {
		return err
	}
	arguments := []string{"psql", "--dbname=" + strings.URI}
	if rest := args[1:]; len(rest) > 0 && rest[0] == "--" {
		arguments = append(arguments, rest[1:]...)
	} else if len(rest) > 0 {
		return usageError("%q is one argument too many", rest[0]).WithHint("psql's arguments stand after --")
	}
	s.quiet.Stop()
	return syscall.Exec(path, arguments, append(os.Environ(), "PGPASSWORD="+password.Password))
}

// connection finds out to whom, as whom and to which database, and makes the strings for it.
func (s *session) connection(ctx context.Context, name string) (api.Target, api.Strings, error) {
	target := api.Target{User: s.String("user"), Database: s.String("database"), Replica: s.Bool("replica")}
	detail, err := s.api.Cluster(ctx, name, client.Read{})
	if err != nil {
		return target, api.Strings{}, err
	}
	complete(&target, detail.Cluster.Spec)
	endpoints, err := s.api.Endpoints(ctx, name, target, client.Read{})
	if err != nil {
		return target, api.Strings{}, err
	}
	strings := endpoints.ReadWrite
	if target.Replica {
		strings = endpoints.ReadOnly
	}
	if strings.URI == "" {
		return target, strings, pgctl.Errorf(pgctl.CodeUnavailable, "cluster %s has no instance yet", name).
			WithHint("pgctl status %s says what it waits for", name)
	}
	return target, strings, nil
}

// complete chooses what was not said: the only database, its owner.
func complete(target *api.Target, spec pgctl.ClusterSpec) {
	if target.Database == "" {
		target.Database = "postgres"
		if databases := slices.Collect(maps.Keys(spec.Databases)); len(databases) == 1 {
			target.Database = databases[0]
		}
	}
	if target.User == "" {
		target.User = spec.Databases[target.Database]
	}
	if users := slices.Sorted(maps.Keys(spec.Users)); target.User == "" && len(users) > 0 {
		target.User = users[0]
	}
	if target.User == "" {
		target.User = "postgres"
	}
}

func dsnCommand() *cli.Command {
	return &cli.Command{
		Name: "dsn", ArgsUsage: "NAME", Usage: "print a connection string, without the password",
		Description: "The string names all instances and lets the driver find the leader, so that it stays right\n" +
			"through a failover.",
		Flags: slices.Concat(targetFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "jdbc", Usage: "for Java"},
			&cli.BoolFlag{Name: "keywords", Usage: "libpq's host=... form"},
		}, clientFlags()),
		BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			_, out, err := s.connection(ctx, args[0])
			if err != nil {
				return err
			}
			return s.print(out, func(w io.Writer) {
				switch {
				case s.Bool("jdbc"):
					fmt.Fprintln(w, out.JDBC)
				case s.Bool("keywords"):
					fmt.Fprintln(w, out.Keywords)
				default:
					fmt.Fprintln(w, out.URI)
				}
			})
		}),
	}
}

func passwordCommand() *cli.Command {
	return &cli.Command{
		Name: "password", ArgsUsage: "NAME USER", Usage: "print a role's password, or change it",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "rotate", Usage: "give it a new password first"},
		}, clientFlags()),
		BashComplete: completeClusters,
		Action: action("NAME USER", func(ctx context.Context, s *session, args []string) error {
			get := s.api.Password
			if s.Bool("rotate") {
				get = s.api.Rotate
			}
			out, err := get(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			return s.print(out, func(w io.Writer) { fmt.Fprintln(w, out.Password) })
		}),
	}
}
