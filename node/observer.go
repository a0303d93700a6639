package node

import (
	"slices"
	"sync"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// Observer remembers what heartbeats say. Its clock counts punctual ticks only, so that its own pauses
// are nobody's silence.
type Observer struct {
	mu     sync.Mutex
	heard  ha.Hearing
	grants map[string]grant // by host
	asks   map[string][]string
	news   map[string]bool          // instances with news for the controller
	leases map[string]time.Duration // by cluster: punctual time of the last grant

	leasedAt uint64   // the state's index for which leased was made
	leased   []string // the lease clusters
}

// grant is what the next answer to a host carries.
type grant struct {
	number uint64
	leases map[string]pgctl.Epoch
}

func newObserver() *Observer {
	return &Observer{heard: ha.NewHearing(), grants: map[string]grant{}, asks: map[string][]string{}, leases: map[string]time.Duration{}, news: map[string]bool{}}
}

// tick advances the punctual clock. A late tick restarts every silence.
func (o *Observer) tick(clock time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.heard.Tick(clock) {
		o.grants = map[string]grant{}
	}
}

// Restart makes every silence begin now: after an election of the own, or a pause.
func (o *Observer) Restart() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heard.Restart()
	o.grants = map[string]grant{}
}

// hear notes a beat and says whether it brings news that a controller should look at now.
func (o *Observer) hear(host string, number uint64, reports []ha.Report) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	news, strange := o.heard.Hear(host, number, reports)
	for _, instance := range news {
		o.news[instance] = true
	}
	return strange || len(news) > 0
}

// silences are those of hosts that ended since the last call.
func (o *Observer) silences() map[string]ha.Silence {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard.Silences()
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
	return o.heard.Report(host, instance, since)
}

// began is when all silences last began anew.
func (o *Observer) began() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard.Began()
}

func (o *Observer) punctual() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard.Punctual()
}

// Reports are the last words about all instances that were heard of, with their ages.
func (o *Observer) Reports() map[string]Heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]Heard{}
	for host, h := range o.heard.Hosts() {
		for name, r := range h.Reports {
			if old, ok := all[name]; !ok || o.heard.Punctual()-h.At < old.Age {
				all[name] = Heard{Host: host, Report: r, Age: o.heard.Punctual() - h.At}
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
	for host, h := range o.heard.Hosts() {
		ages[host] = o.heard.Punctual() - h.At
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
