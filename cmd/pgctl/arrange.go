package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pgctl/pgctl"
)

// arrange puts a command line into the only order that urfave/cli reads, options before arguments, so
// that people may write them in any order. It refuses unknown commands and options with the nearest one.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) > 2 && args[1] == "help" {
		args = append(append([]string{args[0]}, args[2:]...), "--help")
	}
	if slices.Contains(args, "--generate-bash-completion") {
		return args, nil
	}
	a := arrangement{commands: app.Commands, flags: app.Flags, name: app.Name}
	rest := args[1:]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		var err error
		switch {
		case word == "--":
			a.arguments = append(append(a.arguments, "--"), rest...)
			rest = nil
		case len(word) > 1 && word[0] == '-':
			rest, err = a.option(word, rest)
		default:
			err = a.argument(word)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(args[:1], a.path, a.options, a.arguments), nil
}

// arrangement is a command line as far as it was read.
type arrangement struct {
	name      string         // of the command
	commands  []*cli.Command // that may follow
	flags     []cli.Flag     // that it has
	path      []string
	options   []string
	arguments []string
}

// option reads one option and its value.
func (a *arrangement) option(word string, rest []string) ([]string, error) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if name == "help" || name == "h" {
		a.options = append(a.options, word)
		return rest, nil
	}
	var names []string
	for _, flag := range a.flags {
		if !slices.Contains(flag.Names(), name) {
			names = append(names, flag.Names()...)
			continue
		}
		a.options = append(a.options, word)
		if _, isBool := flag.(*cli.BoolFlag); isBool || hasValue {
			return rest, nil
		}
		if len(rest) == 0 {
			return nil, usageError("option %s needs a value", word).WithHint("%s --help", a.name)
		}
		a.options = append(a.options, rest[0])
		return rest[1:], nil
	}
	e := usageError("there is no option %s of %s", word, a.name).WithHint("%s --help lists them", a.name)
	if near := pgctl.Nearest(name, names); near != "" {
		_ = e.WithHint("did you mean --%s?", near)
	}
	return nil, e
}

// argument reads a command or one of its arguments.
func (a *arrangement) argument(word string) error {
	if len(a.commands) == 0 {
		a.arguments = append(a.arguments, word)
		return nil
	}
	var names []string
	for _, c := range a.commands {
		if c.HasName(word) {
			a.path = append(a.path, word)
			a.name += " " + word
			a.commands, a.flags = c.Subcommands, c.Flags
			return nil
		}
		names = append(names, c.Name)
	}
	e := usageError("there is no command %q of %s", word, a.name).WithHint("%s --help lists them", a.name)
	if near := pgctl.Nearest(word, names); near != "" {
		_ = e.WithHint("did you mean %s %s?", a.name, near)
	}
	return e
}
