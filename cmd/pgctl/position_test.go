package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl/node/ha"
)

// TestAnOlderStateOfTheDataIsRefused: somebody puts a former copy of the data directory back. Nothing in it
// shows that; what was noted beside it does. A server that crashed is not taken for one.
func TestAnOlderStateOfTheDataIsRefused(t *testing.T) {
	b := newBench(t)
	var now time.Duration
	b.around.clock = func() time.Duration { return now }
	s := b.started(false)
	data := s.pg.PGData()
	b.noted(s, &now)
	b.stopped(s)
	b.copied(data, data+".older")

	b.do(s, ha.Step{Do: ha.Start})
	b.noted(s, &now)
	if err := s.pg.KillAll(b.ctx); err != nil {
		t.Fatal(err)
	}
	if o := s.Observe(b.ctx); o.State != ha.Down || o.Trouble != "" {
		t.Fatalf("after a crash: %s %q", o.State, o.Trouble)
	}
	b.do(s, ha.Step{Do: ha.Start}) // recovers, and goes on behind what was noted
	b.noted(s, &now)
	b.stopped(s)
	if o := s.Observe(b.ctx); o.Trouble != "" {
		t.Fatalf("of the newest state: %s", o.Trouble)
	}

	for _, step := range [][2]string{{data, data + ".newest"}, {data + ".older", data}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	o := b.employ().Observe(b.ctx)
	if note := filepath.Join(s.pg.Folder(), "position.json"); !strings.Contains(o.Trouble, "an older state of it was put back") || !strings.Contains(o.Trouble, note) {
		t.Fatalf("says %q", o.Trouble)
	}
	if steps := ha.Act(ha.InstanceView{Self: b.self, Server: o.Server, Local: o.Local}); len(steps) > 0 {
		t.Errorf("it would be used: %v", steps)
	}
}

// noted writes a record and has the upkeep look often enough to note where it ends.
func (b *bench) noted(s *localServer, now *time.Duration) {
	b.t.Helper()
	note := func() string {
		text, _ := os.ReadFile(filepath.Join(s.pg.Folder(), "position.json"))
		return string(text)
	}
	before := note()
	if _, err := s.pg.FlushedProbe(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	b.eventually("nothing was noted", func() bool {
		*now += positionEvery
		task := b.task
		task.View.Server = s.Observe(b.ctx).Server
		if err := s.notePosition(b.ctx, task); err != nil {
			b.t.Fatal(err)
		}
		return note() != before
	})
}

func (b *bench) stopped(s *localServer) {
	b.t.Helper()
	if _, err := s.pg.Stop(context.WithoutCancel(b.ctx), 3*time.Second); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) copied(from, to string) {
	b.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		b.t.Fatalf("cp: %v %s", err, out)
	}
}
