package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", ArgsUsage: "NAME", Usage: "stop a cluster, keep its data for a time, then remove it",
		Description: "Asks for the name again; scripts give it with --yes NAME. Until the time is over,\n" +
			"pgctl undelete brings the cluster back.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "yes", Usage: "the cluster's `NAME` again, instead of being asked"},
			&cli.StringFlag{Name: "keep", Value: "7d", Usage: "how long the data folders stay: 7d, 12h, 1d12h ..."},
		}, waitFlags(), clientFlags()),
		BashComplete: completeClusters,
		Action:       action("NAME", deleteCluster),
	}
}

// deleteCluster looks at what would be deleted, asks and deletes.
func deleteCluster(ctx context.Context, s *session, args []string) error {
	name := args[0]
	keep, err := api.ParseDuration(s.String("keep"), "keep")
	if err != nil {
		return err
	}
	detail, err := s.api.Cluster(ctx, name, client.Read{})
	if err != nil {
		return err
	}
	again := s.String("yes")
	if again == "" {
		if !terminal() {
			return pgctl.Errorf(pgctl.CodeRefused, "deleting cluster %s needs its name again", name).
				WithHint("nothing was deleted; --yes %s deletes it", name)
		}
		again = s.ask(fmt.Sprintf("Cluster %s with %d instances will be stopped and removed after %s.\n"+
			"Type its name to delete it: ", name, len(detail.Instances), api.FormatDuration(keep)))
	}
	if again != name {
		return pgctl.Errorf(pgctl.CodeRefused, "%q is not %q: nothing was deleted", again, name)
	}
	out, err := s.api.Delete(ctx, name, keep)
	if err := s.changed(out, err); err != nil || !s.Bool("wait") {
		return err
	}
	return s.awaitHealthy(ctx, name, out.Index, s.Duration("timeout"))
}

// changed shows the answer to an order.
func (s *session) changed(out api.Changed, err error) error {
	if err != nil {
		return err
	}
	return s.print(out, func(w io.Writer) { fmt.Fprintln(w, out.Message) })
}

func undeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "undelete", ArgsUsage: "NAME", Usage: "bring a deleted cluster back while its data is there",
		Flags: slices.Concat(waitFlags(), clientFlags()), BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			out, err := s.api.Undelete(ctx, args[0])
			if err := s.changed(out, err); err != nil || !s.Bool("wait") {
				return err
			}
			return s.awaitHealthy(ctx, args[0], out.Index, s.Duration("timeout"))
		}),
	}
}

func switchoverCommand() *cli.Command {
	return &cli.Command{
		Name: "switchover", ArgsUsage: "NAME", Usage: "let another instance lead, as planned: nothing is lost",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "`INSTANCE` that is to lead; without it the best standby"},
		}, scheduleFlags(), waitFlags(), clientFlags()),
		BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			if s.Bool("cancel") || s.String("at") != "" {
				return s.schedule(ctx, args[0], api.Order{Do: api.OrderSwitchover, Instance: s.String("to")})
			}
			return s.move(ctx, args[0], func() (api.Changed, error) {
				return s.api.Switchover(ctx, args[0], s.String("to"))
			})
		}),
	}
}

func failoverCommand() *cli.Command {
	return &cli.Command{
		Name: "failover", ArgsUsage: "NAME --to INSTANCE", Usage: "let an instance lead although the leader is gone",
		Description: "Refused while the leader is healthy. With --allow-data-loss commits that were acknowledged can be\n" +
			"missing afterwards: only for instances that are gone for good. The old leader must be known to have\n" +
			"stopped then, by its daemon or by you.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "`INSTANCE` that is to lead"},
			&cli.BoolFlag{Name: "allow-data-loss", Usage: "accept that acknowledged commits are lost"},
			&cli.BoolFlag{Name: "old-leader-is-dead", Usage: "with --allow-data-loss: you know that it runs no more, its power is off, say"},
		}, waitFlags(), clientFlags()),
		BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			if s.String("to") == "" {
				return usageError("which instance is to lead?").At("to").
					WithHint("pgctl show %s lists them with their positions; --to INSTANCE", args[0])
			}
			return s.move(ctx, args[0], func() (api.Changed, error) {
				return s.api.Failover(ctx, args[0], api.Move{
					To: s.String("to"), AllowDataLoss: s.Bool("allow-data-loss"), OldLeaderIsDead: s.Bool("old-leader-is-dead"),
				})
			})
		}),
	}
}

// move orders a change of the leader and, if asked to, waits until somebody leads in a later epoch and
// lets clients in.
func (s *session) move(ctx context.Context, name string, order func() (api.Changed, error)) error {
	before, err := s.api.Cluster(ctx, name, client.Read{})
	if err != nil {
		return err
	}
	out, err := order()
	if err := s.changed(out, err); err != nil || !s.Bool("wait") {
		return err
	}
	var epoch pgctl.Epoch
	if before.Leadership != nil {
		epoch = before.Leadership.Epoch
	}
	leader := ""
	err = s.await(ctx, name, max(out.Index, 1)-1, s.Duration("timeout"), func(ctx context.Context) (bool, string, error) {
		now, err := s.api.Cluster(ctx, name, client.Read{})
		if err != nil || now.Leadership == nil || now.Leadership.Epoch <= epoch {
			return false, "nothing has happened yet", err
		}
		l := now.Leadership
		i := slices.IndexFunc(now.Instances, func(i api.InstanceDetail) bool { return i.Life == l.Leader })
		if i < 0 {
			return false, fmt.Sprintf("%s in epoch %d, nobody leads yet", l.Phase, l.Epoch), nil
		}
		leader = now.Instances[i].Name
		live := now.Instances[i].Live
		if l.Phase != pgctl.Steady || live == nil || !live.Open || live.Role != api.RolePrimary {
			return false, fmt.Sprintf("%s is %s in epoch %d and does not let clients in yet", leader, l.Phase, l.Epoch), nil
		}
		s.say("%s: %s leads in epoch %d and lets clients in", name, leader, l.Epoch)
		return true, "", nil
	})
	if to := s.String("to"); err == nil && to != "" && leader != to {
		return pgctl.Errorf(pgctl.CodeConflict, "%s leads, not %s", leader, to).WithHint("pgctl events %s says why", name)
	}
	return err
}

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", ArgsUsage: "[NAME]", Usage: "show what happened, and why",
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "follow", Usage: "go on with what happens next"},
			&cli.Uint64Flag{Name: "after", Usage: "only events newer than this `INDEX`"},
		}, clientFlags()),
		BashComplete: completeClusters,
		Action:       action("[NAME]", events),
	}
}

// events lists them and, if asked to, goes on with a line or document an event.
func events(ctx context.Context, s *session, args []string) error {
	name := ""
	if len(args) == 1 {
		name = args[0]
	}
	out, err := s.api.Events(ctx, name, s.Uint64("after"))
	if err != nil {
		return err
	}
	if !s.Bool("follow") {
		return s.print(out.Events, func(w io.Writer) {
			for _, e := range out.Events {
				printEvent(w, e)
			}
		})
	}
	s.quiet.Stop()
	after := out.Index
	for _, e := range out.Events {
		if err := s.printOne(e); err != nil {
			return err
		}
		after = max(after, e.Index)
	}
	return s.api.Follow(ctx, name, after, s.printOne)
}

// printOne shows one event of a stream: a line, or a YAML document.
func (s *session) printOne(e pgctl.Event) error {
	switch s.format {
	case "json":
		s.quiet.Stop()
		return json.NewEncoder(s.App.Writer).Encode(e)
	case "yaml":
		fmt.Fprintln(s.App.Writer, "---")
	}
	return s.print(e, func(w io.Writer) { printEvent(w, e) })
}

func printEvent(w io.Writer, e pgctl.Event) {
	fmt.Fprintf(w, "%s  %s\n", e.At.UTC().Format("2006-01-02T15:04:05.000Z"), eventText(e))
}

// eventText is an event without its time.
func eventText(e pgctl.Event) string {
	who := e.Instance
	if who == "" {
		who = e.Cluster
	}
	if who == "" {
		who = e.Host
	}
	text := fmt.Sprintf("%-16s %s", who, e.Message)
	if e.Severity != pgctl.Info {
		text = fmt.Sprintf("%-16s %s: %s", who, e.Severity, e.Message)
	}
	return text
}
