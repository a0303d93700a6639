package node

import (
	"context"
	"reflect"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// operation is a step that runs beside the loop, so that observing and reporting go on.
type operation struct {
	task   Task
	cancel context.CancelFunc
	done   chan error
}

// yields says whether the operation gives way to newer decisions.
func (o *operation) yields() bool { return o.task.Do == ha.Confirm }

// supersede cancels a yielding operation that is no longer what should be done.
func (a *agent) supersede(steps []ha.Step) {
	if a.doing == nil || !a.doing.yields() {
		return
	}
	for _, s := range steps {
		if s.Do == a.doing.task.Do && s.Epoch == a.doing.task.Epoch && reflect.DeepEqual(s.Rule, a.doing.task.Rule) {
			return
		}
	}
	a.abandon()
}

// outdate ends an operation whose epoch is over and that could hold up the next one for ever: a promotion
// or a recovery that does not come to its end, a copy from a leader that was replaced.
func (a *agent) outdate(l pgctl.Leadership) {
	if a.doing == nil {
		return
	}
	switch was := a.doing.task.View.Leadership; a.doing.task.Do {
	case ha.Promote, ha.Start, ha.Follow, ha.Detach:
		if l.Epoch > was.Epoch {
			a.abandon()
		}
	case ha.CopyData, ha.Rewind:
		if l.Leader != "" && l.Leader != was.Leader {
			a.abandon()
		}
	}
}

// abandon cancels whatever is being done and waits for its end.
func (a *agent) abandon() {
	if a.doing == nil {
		return
	}
	a.doing.cancel()
	<-a.doing.done
	a.doing = nil
}
