package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTable reads runs back from a file and sees what the table makes of them: medians of what was measured,
// and losses and two writers of failed runs too.
func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs")
	for _, r := range []result{
		{System: ours, Fault: "power", Gap: 3 * time.Second},
		{System: ours, Fault: "power", Gap: time.Second},
		{System: ours, Fault: "power", Gap: 2 * time.Second, Ended: true},
		{System: "patroni-default", Fault: "power", Gap: 30 * time.Second, Lost: 4},
		{System: "patroni-default", Fault: "power", Lost: 3, TwoWriters: []string{"both"}, Failure: "not whole again"},
		{System: "autofailover-tuned", Fault: "power", Failure: "no hosts"},
	} {
		if err := record(file, r); err != nil {
			t.Fatal(err)
		}
	}
	results, err := recorded(file)
	if err != nil {
		t.Fatal(err)
	}
	text := table(results)
	for _, line := range []string{
		"| power loss of the leader | pgctl | 3 | 2.00 s | 3.00 s | 0 | never | in 1, writes were back only after the fault was ended |",
		"| power loss of the leader | patroni-default | 1 | 30.00 s | 30.00 s | 7 | in 1 runs | 1 more failed: not whole again, or not at all |",
		"| power loss of the leader | autofailover-tuned | 0 |  |  | 0 | never | 1 more failed: not whole again, or not at all |",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no line\n%s\nin\n%s", line, text)
		}
	}
	if n := strings.Count(text, "\n| ") - 1; n != 3 {
		t.Errorf("%d lines instead of 3 in\n%s", n, text)
	}
}

func TestRecordedRefusesWhatItDidNotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs")
	if err := os.WriteFile(file, []byte("| a table |\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := recorded(file); err == nil {
		t.Error("a file of something else was read as runs")
	}
}

func TestEvenMedian(t *testing.T) {
	runs := []result{{Gap: time.Second}, {Gap: 2 * time.Second}, {Gap: 3 * time.Second}, {Gap: 9 * time.Second}}
	if got := cells(runs)[1]; got != "2.50 s" {
		t.Errorf("the median of four runs is %s instead of 2.50 s", got)
	}
}
