package writer

import (
	"strings"
	"testing"
	"time"
)

func TestTwoWritersShow(t *testing.T) {
	t.Parallel()
	at := func(sent, got int, server, timeline string) ack {
		return ack{
			id: int64(sent), server: server, timeline: timeline,
			sent: time.Duration(sent) * time.Second, got: time.Duration(got) * time.Second,
		}
	}
	for name, c := range map[string]struct {
		acks []ack
		says string
	}{
		"one after the other": {acks: []ack{
			at(1, 2, "a", "00000001"), at(3, 4, "b", "00000002"), at(5, 6, "a", "00000003"), at(7, 8, "a", "00000003"),
		}},
		"an answer that comes late": {acks: []ack{at(1, 9, "a", "00000001"), at(3, 4, "b", "00000002")}},
		"the old one goes on": {
			acks: []ack{at(1, 2, "a", "00000001"), at(3, 4, "b", "00000002"), at(5, 6, "a", "00000001")},
			says: "row 5 on timeline 00000001",
		},
		"noted in another order": {
			acks: []ack{at(5, 6, "a", "00000001"), at(3, 4, "b", "00000002")},
			says: "row 5 on timeline 00000001",
		},
		"the same number twice": {
			acks: []ack{at(1, 2, "a", "00000002"), at(3, 4, "b", "00000002")},
			says: "[a b] all wrote on timeline 00000002",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var journal strings.Builder
			w := &Writer{config: Config{Journal: &journal}, tenures: map[string]*tenure{}}
			for _, a := range c.acks {
				w.note(a, true)
			}
			// note reads the clock for when the answer came; what counts here are the times of the test.
			w.tenures = map[string]*tenure{}
			for _, a := range c.acks {
				w.remember(a)
			}
			found := strings.Join(w.Report().TwoWriters, "; ")
			if (c.says == "") != (found == "") || !strings.Contains(found, c.says) {
				t.Errorf("%q", found)
			}
			if lines := strings.Count(journal.String(), "\n"); lines != 2*len(c.acks) {
				t.Errorf("%d lines in the journal", lines)
			}
		})
	}
}
