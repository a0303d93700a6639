package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/api"
)

// maxManifest is what daemons accept in one request.
const maxManifest = 1 << 20

// defaultLimit is how long --wait waits.
const defaultLimit = 5 * time.Minute

func fileFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "file", Aliases: []string{"f"}, Usage: "manifest: `FILE`, folder with *.yaml, *.yml and *.json, or - for standard input",
	}
}

func waitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "wait", Usage: "wait until it is done, and show what happens"},
		&cli.DurationFlag{Name: "timeout", Value: defaultLimit, Usage: "how long --wait waits"},
	}
}

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", ArgsUsage: "-f FILE|DIR|-", Usage: "make clusters as a manifest declares them",
		Description: "Shows the plan first. On a terminal it asks before something that connected applications notice;\n" +
			"elsewhere that needs --yes. Applying the same manifest again changes nothing.",
		Flags: slices.Concat([]cli.Flag{
			fileFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only show the plan"},
		}, waitFlags(), clientFlags()),
		Action: action("", apply),
	}
}

func diffCommand() *cli.Command {
	return &cli.Command{
		Name: "diff", ArgsUsage: "-f FILE|DIR|-", Usage: "show what apply would change; exit status 10 if anything",
		Flags: slices.Concat([]cli.Flag{fileFlag()}, clientFlags()),
		Action: action("", func(ctx context.Context, s *session, _ []string) error {
			manifests, err := readManifests(s.String("file"), s.App.Reader)
			if err != nil {
				return err
			}
			plans, err := s.plan(ctx, manifests)
			if err != nil {
				return err
			}
			if err := s.print(plans, func(w io.Writer) { printPlans(w, plans) }); err != nil {
				return err
			}
			if changes(plans) {
				return exitError(exitDifferent)
			}
			return nil
		}),
	}
}

// manifest is one file.
type manifest struct {
	name string
	text []byte
}

// readManifests reads a file, a folder or standard input.
func readManifests(path string, stdin io.Reader) ([]manifest, error) {
	if path == "" {
		return nil, usageError("which manifest?").WithHint("pgctl apply -f FILE; - is standard input")
	}
	paths := []string{path}
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		paths = nil
		for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
			found, _ := filepath.Glob(filepath.Join(path, pattern)) // these patterns are well formed
			paths = append(paths, found...)
		}
		slices.Sort(paths)
		if len(paths) == 0 {
			return nil, usageError("%s has no *.yaml, *.yml or *.json", path).At("file")
		}
	}
	var out []manifest
	for _, p := range paths {
		text, err := readManifest(p, stdin)
		if err != nil {
			return nil, err
		}
		if p == "-" {
			p = "standard input"
		}
		out = append(out, manifest{name: p, text: text})
	}
	return out, nil
}

func readManifest(path string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usageError("cannot read the manifest: %v", err).At("file")
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	if err != nil {
		return nil, usageError("cannot read the manifest: %v", err).At("file")
	}
	if len(text) > maxManifest {
		return nil, usageError("%s is larger than 1 MiB", path).At("file").WithHint("apply it in several parts")
	}
	return text, nil
}

// plan asks what each manifest would change.
func (s *session) plan(ctx context.Context, manifests []manifest) ([]api.ClusterPlan, error) {
	plans := []api.ClusterPlan{}
	from := map[string]string{}
	for _, m := range manifests {
		result, err := s.api.Apply(ctx, m.name, m.text, true)
		if err != nil {
			return nil, in(m.name, err)
		}
		for _, p := range result.Clusters {
			if other, ok := from[p.Name]; ok {
				return nil, usageError("cluster %s is declared in %s and in %s", p.Name, other, m.name)
			}
			from[p.Name] = m.name
		}
		plans = append(plans, result.Clusters...)
	}
	return plans, nil
}

// in says which file an error is about, on every line of its message.
func in(name string, err error) error {
	e, ok := errors.AsType[*pgctl.Error](err)
	if !ok || e.Code != pgctl.CodeInvalid && e.Code != pgctl.CodeRefused && e.Code != pgctl.CodeConflict ||
		strings.HasPrefix(e.Message, name+":") {
		return err
	}
	if e.Field != "" {
		e.Message, e.Field = e.Field+": "+e.Message, ""
	}
	e.Message = name + ": " + strings.ReplaceAll(e.Message, "\n", "\n"+name+": ")
	return err
}

// apply plans, asks and applies.
func apply(ctx context.Context, s *session, _ []string) error {
	manifests, err := readManifests(s.String("file"), s.App.Reader)
	if err != nil {
		return err
	}
	plans, err := s.plan(ctx, manifests)
	if err != nil {
		return err
	}
	if s.Bool("dry-run") {
		return s.print(plans, func(w io.Writer) { printPlans(w, plans) })
	}
	if s.format == "table" {
		printPlans(s.App.Writer, plans)
	}
	if err := s.confirm(plans); err != nil {
		return err
	}
	done, index := []api.ClusterPlan{}, uint64(0)
	for _, m := range manifests {
		result, err := s.api.Apply(ctx, m.name, m.text, false)
		if err != nil {
			return in(m.name, err)
		}
		done, index = append(done, result.Clusters...), result.Index
	}
	if s.format != "table" {
		if err := s.print(done, nil); err != nil {
			return err
		}
	}
	for _, p := range done {
		after := index // only what happens from now on is shown of clusters that already were as declared
		if p.Action != api.ActionNone {
			after = max(p.Revision, 1) - 1
		}
		if s.Bool("wait") {
			if err := s.awaitHealthy(ctx, p.Name, after, s.Duration("timeout")); err != nil {
				return err
			}
		} else if p.Action != api.ActionNone {
			s.say("%s: applied; pgctl status %s shows how it is", p.Name, p.Name)
		}
	}
	return nil
}

// confirm asks before something that is noticed by those who are connected.
func (s *session) confirm(plans []api.ClusterPlan) error {
	var disruptive []string
	for _, p := range plans {
		for _, c := range p.Changes {
			if p.Action == api.ActionChange && c.Effect.Disruptive() {
				disruptive = append(disruptive, p.Name+": "+c.Path+" ("+string(c.Effect)+")")
			}
		}
	}
	if len(disruptive) == 0 || s.Bool("yes") {
		return nil
	}
	if !terminal() {
		return pgctl.Errorf(pgctl.CodeRefused, "connected applications would notice %s", disruptive[0]).
			WithHint("nothing was applied; --yes applies it")
	}
	if answer := s.ask("Connected applications will notice this. Apply? [y/N] "); answer != "y" && answer != "yes" {
		return pgctl.Errorf(pgctl.CodeRefused, "nothing was applied")
	}
	return nil
}

// changes says whether a plan changes anything.
func changes(plans []api.ClusterPlan) bool {
	return slices.ContainsFunc(plans, func(p api.ClusterPlan) bool { return p.Action != api.ActionNone })
}

// printPlans shows plans as people read them.
func printPlans(w io.Writer, plans []api.ClusterPlan) {
	words := map[api.Action]string{
		api.ActionCreate: "will be created", api.ActionChange: "will be changed", api.ActionNone: "is as declared",
	}
	for _, p := range plans {
		fmt.Fprintf(w, "cluster %s %s\n", p.Name, words[p.Action])
		for _, c := range p.Changes {
			switch {
			case c.From == "":
				fmt.Fprintf(w, "  + %s: %s", c.Path, c.To)
			case c.To == "":
				fmt.Fprintf(w, "  - %s: %s", c.Path, c.From)
			default:
				fmt.Fprintf(w, "  ~ %s: %s -> %s", c.Path, c.From, c.To)
			}
			if p.Action == api.ActionChange && c.Effect != api.EffectNone {
				fmt.Fprintf(w, "  (%s)", c.Effect)
			}
			if c.Why != "" {
				fmt.Fprintf(w, "  # %s", c.Why)
			}
			fmt.Fprintln(w)
		}
		for _, text := range p.Warnings {
			fmt.Fprintf(w, "  warning: %s\n", text)
		}
	}
}
