package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl/node/api"
	"github.com/pgctl/pgctl/node/api/client"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the clusters", Flags: clientFlags(),
		Action: action("", func(ctx context.Context, s *session, _ []string) error {
			out, err := s.api.Clusters(ctx, client.Read{})
			if err != nil {
				return err
			}
			return s.print(out.Clusters, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tHEALTH\tVERSION\tINSTANCES\tPORT\tLEADER\tSUMMARY")
				for _, c := range out.Clusters {
					fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n",
						c.Name, c.Health, c.Version, c.Instances, c.Port, dash(c.Leader), c.Summary)
				}
			})
		}),
	}
}

func showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", ArgsUsage: "NAME", Usage: "show a cluster: declaration, leadership, instances",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "manifest", Usage: "only the declaration, as a manifest that apply takes"},
		}, clientFlags()...),
		BashComplete: completeClusters,
		Action: action("NAME", func(ctx context.Context, s *session, args []string) error {
			out, err := s.api.Cluster(ctx, args[0], client.Read{})
			if err != nil {
				return err
			}
			if s.Bool("manifest") {
				_, err = io.WriteString(s.App.Writer, out.Manifest)
				return err
			}
			return s.print(out, func(w io.Writer) { printDetail(w, out) })
		}),
	}
}

// printDetail shows a cluster as people read it.
func printDetail(w io.Writer, d api.ClusterDetail) {
	c := d.Cluster
	fmt.Fprintf(w, "cluster\t%s\n", c.Name)
	if c.Team != "" {
		fmt.Fprintf(w, "team\t%s\n", c.Team)
	}
	fmt.Fprintf(w, "postgres\t%d on port %d\n", c.Spec.Version, c.Port)
	fmt.Fprintf(w, "declared\t%d instances, revision %d\n", c.Spec.Instances, c.Revision)
	if c.Deleted != nil {
		fmt.Fprintf(w, "deleted\t%s, data is kept for %s\n", c.Deleted.At.UTC().Format(time.RFC3339), c.Deleted.Keep)
	}
	if l := d.Leadership; l != nil {
		fmt.Fprintf(w, "leadership\t%s, epoch %d, %s mode\n", l.Phase, l.Epoch, l.Mode)
		rule := l.RuleInForce()
		fmt.Fprintf(w, "a commit waits for\t%d of %d standbys (rule %d)\n", rule.Acks, len(rule.Standbys), rule.Version)
	}
	if len(d.Instances) == 0 {
		return
	}
	fmt.Fprintln(w, "\nINSTANCE\tROLE\tSTATE\tHOST\tDATA CENTER\tTIMELINE\tLSN\tLAG\tHEARD\tNOTE")
	for _, i := range d.Instances {
		role, state, timeline, lsn, lag, heard, note := "-", "-", "-", "-", "-", "never", ""
		if l := i.Live; l != nil {
			role, state = dash(string(l.Role)), string(l.State)
			if l.Role == api.RolePrimary && !l.Open {
				state = "closed"
			}
			if l.Timeline > 0 {
				timeline, lsn = fmt.Sprint(l.Timeline), l.LSN.String()
			}
			if l.LagBytes != nil {
				lag = bytesText(*l.LagBytes)
			}
			heard = ago(l.AgeMs)
			note = strings.Join(slices.DeleteFunc([]string{l.Doing, l.Problem}, func(t string) bool { return t == "" }), "; ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			i.Name, role, state, i.Host, dash(i.DataCenter), timeline, lsn, lag, heard, note)
	}
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", ArgsUsage: "[NAME]", Usage: "say what is not well, why, who would end it, and what to do",
		Description:  "Exit status 0: all is well; 3: something is degraded; 4: something is down.",
		Flags:        clientFlags(),
		BashComplete: completeClusters,
		Action:       action("[NAME]", status),
	}
}

// status judges one cluster or all.
func status(ctx context.Context, s *session, args []string) error {
	var list []api.ClusterStatus
	var value any
	if len(args) == 1 {
		out, err := s.api.Status(ctx, args[0], client.Read{})
		if err != nil {
			return err
		}
		list, value = []api.ClusterStatus{out.ClusterStatus}, out
	} else {
		out, err := s.api.Statuses(ctx, client.Read{})
		if err != nil {
			return err
		}
		list, value = out.Clusters, out
	}
	if err := s.print(value, func(w io.Writer) { printStatus(w, list) }); err != nil {
		return err
	}
	worst := api.LevelWell
	for _, c := range list {
		if c.Health.Worse(worst) {
			worst = c.Health
		}
	}
	switch worst {
	case api.LevelDown:
		return exitError(exitDown)
	case api.LevelDegraded:
		return exitError(exitDegraded)
	}
	return nil
}

// printStatus shows judgements on one screen.
func printStatus(w io.Writer, list []api.ClusterStatus) {
	if len(list) == 0 {
		fmt.Fprintln(w, "there are no clusters; pgctl apply -f FILE declares one")
	}
	for _, c := range list {
		fmt.Fprintf(w, "%s: %s: %s\n", c.Name, c.Health, c.Summary)
		for _, p := range c.Problems {
			fmt.Fprintf(w, "  %s: %s\n", p.Level, p.What)
			if p.Why != "" {
				fmt.Fprintf(w, "    why       %s\n", p.Why)
			}
			if len(p.EndedBy) > 0 {
				var places []string
				for _, place := range p.EndedBy {
					places = append(places, place.String())
				}
				fmt.Fprintf(w, "    ended by  %s\n", strings.Join(places, "; "))
			}
			if p.Do != "" {
				fmt.Fprintf(w, "    do        %s\n", p.Do)
			}
		}
	}
}

// dash stands for nothing in tables.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// bytesText is a number of bytes as people read it.
func bytesText(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

// ago is an age as people read it.
func ago(ms int64) string {
	if ms < 2000 {
		return "now"
	}
	return (time.Duration(ms) * time.Millisecond).Truncate(time.Second).String() + " ago"
}
