package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

// orderCommand is a command that only hands an order over.
func orderCommand(name, arguments, usage, description string, order api.Order) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: arguments, Usage: usage, Description: description, Flags: clientFlags(), BashComplete: completeClusters,
		Action: action(arguments, func(ctx context.Context, s *session, args []string) error {
			if len(args) > 1 {
				order.Instance = args[1]
			}
			return s.changed(s.api.Order(ctx, args[0], order))
		}),
	}
}

func pauseCommand() *cli.Command {
	return orderCommand("pause", "NAME", "leave a lost leader alone until resume",
		"An election that is under way is finished. Commits stay as safe as they are; nothing restarts by itself.", api.Order{Do: api.OrderPause})
}

func resumeCommand() *cli.Command {
	return orderCommand("resume", "NAME", "replace a lost leader again", "", api.Order{Do: api.OrderResume})
}

func reloadCommand() *cli.Command {
	return orderCommand("reload", "NAME", "have all servers of a cluster read their files again", "", api.Order{Do: api.OrderReload})
}

func reinitCommand() *cli.Command {
	return orderCommand("reinit", "NAME INSTANCE", "copy a standby anew from the leader",
		"Commits stop waiting for it first. Its former data directory is kept beside the new one.", api.Order{Do: api.OrderReinit})
}

func restartCommand() *cli.Command {
	return &cli.Command{
		Name: "restart", ArgsUsage: "NAME [INSTANCE]", Usage: "restart the servers of a cluster, one after the other, standbys first",
		Description: "Without --rolling the leader restarts where it is, which interrupts writes for some seconds; with it\n" +
			"another one leads first. Nothing restarts while the cluster is not well, or paused.",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "rolling", Usage: "hand the leadership over before the leader restarts"},
			&cli.BoolFlag{Name: "pending", Usage: "only what has settings that wait for a restart"},
		}, scheduleFlags(), clientFlags()),
		BashComplete: completeClusters,
		Action: action("NAME [INSTANCE]", func(ctx context.Context, s *session, args []string) error {
			order := api.Order{Do: api.OrderRestart, Rolling: s.Bool("rolling"), Pending: s.Bool("pending")}
			if len(args) > 1 {
				order.Instance = args[1]
			}
			return s.schedule(ctx, args[0], order)
		}),
	}
}

func scheduleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "at", Usage: "not before `TIME`: 2030-01-31T03:00:00Z, or 03:00 for the next one here"},
		&cli.BoolFlag{Name: "cancel", Usage: "take back what is scheduled"},
	}
}

// schedule hands over an order that may be for later, or takes back the one that is.
func (s *session) schedule(ctx context.Context, name string, order api.Order) error {
	switch at := s.String("at"); {
	case s.Bool("cancel") && at != "":
		return usageError("either a time, or none").At("at")
	case s.Bool("cancel"):
		order = api.Order{Do: api.OrderCancel}
	case at != "":
		when, err := parseTime(at, time.Now())
		if err != nil {
			return err
		}
		order.At = &when
	}
	return s.changed(s.api.Order(ctx, name, order))
}

// parseTime reads a moment, or a time of day: the next one.
func parseTime(text string, now time.Time) (time.Time, error) {
	if when, err := time.Parse(time.RFC3339, text); err == nil {
		return when, nil
	}
	clock, err := time.ParseInLocation("15:04", text, now.Location())
	if err != nil {
		return time.Time{}, usageError("%q is no time", text).At("at").WithHint("write it like 2030-01-31T03:00:00Z or 03:00")
	}
	when := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
	if !when.After(now) {
		when = when.AddDate(0, 0, 1)
	}
	return when, nil
}

func historyCommand() *cli.Command {
	return &cli.Command{
		Name: "history", ArgsUsage: "NAME", Usage: "show who led when, and where the time of each change went",
		Flags: clientFlags(), BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			out, err := s.api.Cluster(ctx, args[0], client.Read{})
			if err != nil {
				return err
			}
			if out.Leadership == nil {
				return pgctl.Errorf(pgctl.CodeNotFound, "cluster %s has no leadership yet", args[0])
			}
			return s.print(out.Leadership.History, func(w io.Writer) { printHistory(w, out) })
		}),
	}
}

// printHistory shows a cluster's timelines, the newest last.
func printHistory(w io.Writer, d api.ClusterDetail) {
	names := map[pgctl.Life]string{}
	for _, i := range d.Instances {
		names[i.Life] = i.Name
	}
	fmt.Fprintln(w, "TIMELINE\tAT\tEPOCH\tLEADER\tSTATE\tSWITCHED AT\tTOOK\tNOTICED\tRECRUITED\tPROMOTED\tOPENED\tWHY")
	for _, r := range d.Leadership.History {
		leader, at := names[r.Leader], "-"
		if leader == "" {
			leader = "(life " + string(r.Leader) + ")"
		}
		if r.Switch > 0 {
			at = fmt.Sprintf("%d@%s", r.Parent, r.Switch)
		}
		took := []string{"-", "-", "-", "-", "-"}
		if r.Took.Opened > 0 {
			for i, t := range []time.Duration{r.Took.Total(), r.Took.Noticed, r.Took.Recruited, r.Took.Promoted, r.Took.Opened} {
				took[i] = t.Round(10 * time.Millisecond).String()
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Timeline, r.At.UTC().Format(time.RFC3339), r.Epoch, leader, r.State, at,
			strings.Join(took, "\t"), r.Why)
	}
}
