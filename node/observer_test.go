package node

import (
	"testing"
	"time"

	"github.com/pgctl/pgctl/node/ha"
)

const boot = 100 * time.Second // the host's clock when a test begins

// pass lets the observer's punctual clock advance.
func pass(o *Observer, d time.Duration) {
	for end := o.heard.Clock() + d; o.heard.Clock() < end; {
		o.tick(o.heard.Clock() + ha.Tick)
	}
}

func observer() *Observer {
	o := newObserver()
	o.tick(boot)
	return o
}

func word(instance string) ha.Report {
	return ha.Report{Instance: instance, Life: "aaaaaaaa", State: ha.Running}
}

func ageOf(o *Observer, host, instance string) time.Duration {
	_, age := o.report(host, instance, 0)
	return age
}

func TestSilenceCountsPunctualTicksOnly(t *testing.T) {
	o := observer()
	o.hear("one", 1, []ha.Report{word("shop-0")})
	pass(o, time.Second)
	if age := ageOf(o, "one", "shop-0"); age != time.Second {
		t.Fatalf("after a second of silence the age is %s", age)
	}
	o.tick(o.heard.Clock() + ha.Tick + ha.LateTick) // late, but within what counts
	if age := ageOf(o, "one", "shop-0"); age != time.Second+ha.Tick+ha.LateTick {
		t.Fatalf("a tick that is a little late counts: %s", age)
	}
	o.tick(o.heard.Clock() + time.Minute) // the observer itself was away
	if age := ageOf(o, "one", "shop-0"); age > ha.Tick {
		t.Fatalf("the observer's own pause is silence: %s", age)
	}
	pass(o, 300*time.Millisecond)
	o.Restart()
	if age := ageOf(o, "one", "shop-0"); age != 0 {
		t.Fatalf("an election does not restart the silences: %s", age)
	}
}

func TestWhatWasNeverHeardIsSilentSinceTheClocksBegan(t *testing.T) {
	o := observer()
	pass(o, time.Second)
	if age := ageOf(o, "two", "shop-1"); age < time.Second || age > time.Second+ha.Tick {
		t.Fatalf("never heard: %s", age)
	}
	o.tick(o.heard.Clock() + time.Minute)
	if age := ageOf(o, "two", "shop-1"); age > ha.Tick {
		t.Fatalf("never heard, after a pause: %s", age)
	}
}

func TestAHostThatSpeaksMayBeSilentAboutAnInstance(t *testing.T) {
	o := observer()
	o.hear("one", 1, []ha.Report{word("shop-0"), word("crm-0")})
	pass(o, time.Second)
	o.hear("one", 2, []ha.Report{word("crm-0")})
	if age := ageOf(o, "one", "shop-0"); age != time.Second {
		t.Errorf("the silence about shop-0 is %s", age)
	}
	if age := ageOf(o, "one", "crm-0"); age != 0 {
		t.Errorf("the silence about crm-0 is %s", age)
	}
	if age := o.Hosts()["one"]; age != 0 {
		t.Errorf("the silence of the host is %s", age)
	}
}

func TestNewsIsWhatDecisionsWaitFor(t *testing.T) {
	o := observer()
	if !o.hear("one", 1, []ha.Report{word("shop-0")}) {
		t.Error("the first word of a host is news")
	}
	same := word("shop-0")
	same.End.LSN, same.Replayed, same.Progress, same.ProofAge = 500, 500, 7, time.Second
	if o.hear("one", 2, []ha.Report{same}) {
		t.Error("what changes all the time is no news")
	}
	for name, change := range map[string]func(*ha.Report){
		"a failure":      func(r *ha.Report) { r.Failed = "its Postgres is gone" },
		"a pledge":       func(r *ha.Report) { r.Pledge = &ha.Pledge{Epoch: 2} },
		"a confirmation": func(r *ha.Report) { r.Confirmed = &ha.Confirmation{Epoch: 2, Version: 3} },
		"a promotion":    func(r *ha.Report) { r.Promoted = &ha.Promotion{Epoch: 2} },
		"a probe":        func(r *ha.Report) { r.Probe = &ha.Probe{Answered: true} },
		"a sender":       func(r *ha.Report) { r.Senders = []ha.Sender{{Life: "bbbbbbbb"}} },
	} {
		o.hear("one", 3, []ha.Report{word("shop-0")})
		r := word("shop-0")
		change(&r)
		if !o.hear("one", 4, []ha.Report{r}) {
			t.Errorf("%s is news", name)
		}
	}
}

func TestAsksAreSaidOnceAndNoneIsLost(t *testing.T) {
	o := observer()
	if o.answerTo("one") != nil {
		t.Error("there is something to say before anything was asked")
	}
	for range 2 { // a controller asks at every tick
		o.ask("one", "shop")
		o.ask("one", "crm")
	}
	if a := o.answerTo("one"); a == nil || len(a.Ask) != 2 || a.Ask[0] != "shop" || a.Ask[1] != "crm" {
		t.Errorf("asked about two clusters, said %+v", a)
	}
	if a := o.answerTo("one"); a != nil {
		t.Errorf("asked twice: %+v", a)
	}
}
