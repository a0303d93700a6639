package node

import (
	"context"
	"reflect"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// operation is a step that runs beside the loop, so that observing and reporting go on.
type operation struct {
	task   Task
	cancel context.CancelFunc
	done   chan error
	began  time.Duration // on the node's clock
}

// supersede cancels a yielding operation that is no longer what should be done.
func (a *agent) supersede(steps []ha.Step) {
	if a.doing == nil || !a.doing.task.Yields() {
		return
	}
	for _, s := range steps {
		if s.Do == a.doing.task.Do && s.Epoch == a.doing.task.Epoch && reflect.DeepEqual(s.Rule, a.doing.task.Rule) {
			return
		}
	}
	a.abandon()
}

// outdate ends an operation whose epoch is over and that could hold up the next one for ever.
func (a *agent) outdate(l pgctl.Leadership) {
	if a.doing != nil && a.doing.task.Outdated(a.doing.task.View.Leadership, l) {
		a.abandon()
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
