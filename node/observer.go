package node

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// lateTick is by how much a tick of the observer may be late and still count: beyond it the silence
// may have been the observer's own.
const lateTick = 150 * time.Millisecond

// Observer remembers what heartbeats say. Its clock counts punctual ticks only, so that its own pauses
// are nobody's silence.
type Observer struct {
	mu     sync.Mutex
	now    time.Duration // punctual time
	last   time.Duration // the host's clock at the last tick; 0 before the first
	hosts  map[string]*heardHost
	grants map[string]grant // by host
	asks   map[string][]string
	news   map[string]bool          // instances with news for the controller
	leases map[string]time.Duration // by cluster: punctual time of the last grant

	restarted time.Duration // punctual time at which all silences began anew
}

type heardHost struct {
	at      time.Duration // punctual time
	number  uint64        // of its last beat
	reports map[string]ha.Report
	heard   map[string]time.Duration // by instance: a host that speaks may be silent about one
}

// grant is what the next answer to a host carries.
type grant struct {
	number uint64
	leases map[string]pgctl.Epoch
}

func newObserver() *Observer {
	return &Observer{hosts: map[string]*heardHost{}, grants: map[string]grant{}, asks: map[string][]string{}, leases: map[string]time.Duration{}, news: map[string]bool{}}
}

// tick advances the punctual clock. A late tick restarts every silence.
func (o *Observer) tick(clock time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	elapsed := clock - o.last
	if o.last == 0 || elapsed > ha.Tick+lateTick {
		o.restart()
		elapsed = ha.Tick
	}
	o.last = clock
	o.now += elapsed
}

// Restart makes every silence begin now: after an election of the own, or a pause.
func (o *Observer) Restart() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.restart()
}

func (o *Observer) restart() {
	o.restarted = o.now
	for _, h := range o.hosts {
		h.at = o.now
		for instance := range h.heard {
			h.heard[instance] = o.now
		}
	}
	o.grants = map[string]grant{}
}

// hear notes a beat and says whether it brings news that a controller should look at now.
func (o *Observer) hear(host string, number uint64, reports []ha.Report) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.hosts[host]
	if h == nil {
		h = &heardHost{reports: map[string]ha.Report{}, heard: map[string]time.Duration{}}
		o.hosts[host] = h
		news = true
	}
	h.at, h.number = o.now, number
	for _, r := range reports {
		old, known := h.reports[r.Instance]
		newer := !known || !reflect.DeepEqual(essence(old), essence(r)) || len(r.Senders) > 0 && r.Promoted != nil || r.Probe != nil
		if newer {
			o.news[r.Instance], news = true, true
		}
		h.reports[r.Instance], h.heard[r.Instance] = r, o.now
	}
	return news
}

// takeNews are the instances that were heard of with news since the last call.
func (o *Observer) takeNews() map[string]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := o.news
	o.news = map[string]bool{}
	return news
}

// report is the last word about an instance, and for how long its host has been silent about it. What
// was never heard has been silent since the observer's clocks began.
func (o *Observer) report(host, instance string, since time.Duration) (ha.Report, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.hosts[host]; h != nil {
		if at, known := h.heard[instance]; known {
			return h.reports[instance], o.now - at
		}
	}
	return ha.Report{}, o.now - max(since, o.restarted)
}

// began is when all silences last began anew.
func (o *Observer) began() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.restarted
}

func (o *Observer) punctual() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// Reports are the last words about all instances that were heard of, with their ages.
func (o *Observer) Reports() map[string]Heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]Heard{}
	for host, h := range o.hosts {
		for name, r := range h.reports {
			if old, ok := all[name]; !ok || o.now-h.at < old.Age {
				all[name] = Heard{Host: host, Report: r, Age: o.now - h.at}
			}
		}
	}
	return all
}

// Hosts are the silences of all hosts that were heard of.
func (o *Observer) Hosts() map[string]time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	ages := map[string]time.Duration{}
	for host, h := range o.hosts {
		ages[host] = o.now - h.at
	}
	return ages
}

// Heard is a report and its age.
type Heard struct {
	Host   string
	Report ha.Report
	Age    time.Duration
}

// answerTo is what to say to a host's beat; nil for nothing. Asks are said once.
func (o *Observer) answerTo(host string) *answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	g, asks := o.grants[host], o.asks[host]
	delete(o.asks, host)
	delete(o.grants, host) // said once: a later process of that host counts its beats anew
	if g.number == 0 && asks == nil {
		return nil
	}
	return &answer{Granted: g.number, Leases: g.leases, Ask: asks}
}

func (o *Observer) ask(host, cluster string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.asks[host], cluster) {
		o.asks[host] = append(o.asks[host], cluster)
	}
}
