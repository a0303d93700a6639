package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one run.
type result struct {
	System, Fault string
	At            time.Time
	Gap           time.Duration // the longest without an acknowledged row
	Ended         bool          // the fault was ended before writes were back
	Whole         time.Duration // from the fault's end until both standbys were back
	Rows, Lost    int           // acknowledged; of these not there afterwards
	TwoWriters    []string      // servers that wrote side by side
	Failure       string        // why nothing was measured, or not to the end
}

func (r result) String() string {
	if r.Failure != "" {
		return "FAILED: " + r.Failure
	}
	text := fmt.Sprintf("gap %.2f s, %d rows, %d lost, whole after another %.1f s", r.Gap.Seconds(), r.Rows, r.Lost, r.Whole.Seconds())
	if r.Ended {
		text += ", writes were not back before the fault ended"
	}
	return strings.Join(append([]string{text}, r.TwoWriters...), "; ")
}

// record adds a run to a file, if one is given.
func record(file string, r result) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(r), f.Close())
}

// recorded reads the runs of such a file; without one there are none.
func recorded(file string) ([]result, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []result
	for from := json.NewDecoder(f); ; {
		var r result
		switch err := from.Decode(&r); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, r)
	}
}

// table is in Markdown: a line for each fault and system. Gaps of runs whose fault had to be ended count as
// they were; how many these are is said.
func table(results []result) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Measured until %s on %d CPUs, %s/%s.\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	text.WriteString("| fault | system | runs | write gap, median | worst | rows lost | two writers | remarks |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range faults {
		for _, name := range systemNames() {
			of := slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.System != name || r.Fault != f.name })
			if len(of) > 0 {
				fmt.Fprintf(&text, "| %s | %s | %s |\n", f.title, name, strings.Join(cells(of), " | "))
			}
		}
	}
	return text.String()
}

// cells are the columns of one line, for runs of one fault on one system: at least one.
func cells(all []result) []string {
	measured := slices.DeleteFunc(slices.Clone(all), func(r result) bool { return r.Failure != "" })
	var remarks []string
	lost, ended, two := 0, 0, 0
	for _, r := range all {
		lost += r.Lost
		if len(r.TwoWriters) > 0 {
			two++
		}
	}
	writers := "never"
	if two > 0 {
		writers = fmt.Sprintf("in %d runs", two)
	}
	if n := len(all) - len(measured); n > 0 {
		remarks = append(remarks, fmt.Sprintf("%d more failed: not whole again, or not at all", n))
	}
	if len(measured) == 0 {
		return []string{"0", "", "", fmt.Sprint(lost), writers, strings.Join(remarks, "; ")}
	}
	var gaps []time.Duration
	for _, r := range measured {
		gaps = append(gaps, r.Gap)
		if r.Ended {
			ended++
		}
	}
	slices.Sort(gaps)
	if ended > 0 {
		remarks = append(remarks, fmt.Sprintf("in %d, writes were back only after the fault was ended", ended))
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
	return []string{
		fmt.Sprint(len(measured)), seconds(median(gaps)), seconds(gaps[len(gaps)-1]), fmt.Sprint(lost), writers,
		strings.Join(remarks, "; "),
	}
}

// median is of values in order: at least one.
func median(values []time.Duration) time.Duration {
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
