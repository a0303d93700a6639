package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// table collects results; its text is Markdown.
type table struct {
	title string
	names []string
	rows  []string
}

func newTable(title string, names []string) *table { return &table{title: title, names: names} }

// add enters the results of one concurrency. The last columns are the last system as a multiple of each
// other one.
func (t *table) add(workers int, results map[string]result) {
	row := fmt.Sprintf("| %d |", workers)
	for _, name := range t.names {
		r := results[name]
		row += fmt.Sprintf(" %.0f | %s / %s | %d + %d |", r.perSecond, milliseconds(r.median), milliseconds(r.worst),
			r.servers.Microseconds(), r.client.Microseconds())
	}
	last := len(t.names) - 1
	for _, name := range t.names[:last] {
		row += fmt.Sprintf(" %.2f× |", results[t.names[last]].perSecond/results[name].perSecond)
	}
	t.rows = append(t.rows, row)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// String is the table in Markdown.
func (t *table) String() string {
	header, line := "| at a time |", "|---|"
	for _, name := range t.names {
		header += fmt.Sprintf(" %s | median / 99 %%, ms | processor, µs |", name)
		line += "---|---|---|"
	}
	last := len(t.names) - 1
	for _, name := range t.names[:last] {
		header += fmt.Sprintf(" %s / %s |", t.names[last], name)
		line += "---|"
	}
	return "### " + t.title + "\n\n" + header + "\n" + line + "\n" + strings.Join(t.rows, "\n") + "\n"
}

// environment says on what it was measured.
func environment(o options) string {
	text := fmt.Sprintf("Measured %s on %d CPUs, %s/%s, %d rounds of %s each, the median counts",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.rounds, o.duration)
	for name, command := range map[string][]string{"pgctl": {o.pgctl, "version"}, "etcd": {o.etcd, "--version"}} {
		if command[0] == "" {
			continue
		}
		output, err := exec.Command(command[0], command[1:]...).Output()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s does not say its version: %v\n", name, err)
		}
		version, _, _ := strings.Cut(string(output), "\n")
		text += "; " + strings.TrimPrefix(version, "etcd Version: ") + " (" + name + ")"
	}
	return text + ".\n"
}
