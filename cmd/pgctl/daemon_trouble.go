package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/provision/pki"
)

const (
	troubleAgain = time.Hour           // the same trouble with the same host becomes an event again
	expiresSoon  = 30 * 24 * time.Hour // people are told so long before
)

// troubles takes what goes wrong between daemons from wherever it is noticed, to be recorded when the
// store is there.
type troubles chan pgctl.Event

// tell never blocks; what nobody takes is in the log.
func (t troubles) tell(e pgctl.Event) {
	select {
	case t <- e:
	default:
	}
}

// connectionFailed says why another daemon cannot be talked to, and tells people if only they can change
// that: a certificate of another authority, or one that expired.
func (d *daemon) connectionFailed(peer string, err error) error {
	err = pki.Explain(err)
	if e, ok := errors.AsType[*pgctl.Error](err); ok {
		d.troubles.tell(pgctl.Event{
			Severity: pgctl.Warning, Host: d.config.Name, Kind: "connection.refused",
			Message: fmt.Sprintf("%s and this daemon (%s) refuse each other: %v", peer, d.config.Name, e),
		})
	}
	return err
}

// gossipFailed does the same for gossip. What comes without an address comes with one as well.
func (d *daemon) gossipFailed(e *pgctl.Error) {
	if strings.Contains(e.Message, "another host") {
		return
	}
	d.troubles.tell(pgctl.Event{Severity: pgctl.Warning, Host: d.config.Name, Kind: "gossip.refused", Message: e.Error()})
}

// recordTroubles records each trouble once an hour, on the daemon that leads the Raft group: all of them
// notice the same.
func (d *daemon) recordTroubles(ctx context.Context) {
	said := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-d.troubles:
			now := time.Now()
			for text, at := range said {
				if now.Sub(at) >= troubleAgain {
					delete(said, text)
				}
			}
			if _, known := said[e.Message]; known || !d.config.Cluster.Server || !d.store.IsLeader() {
				continue
			}
			said[e.Message] = now
			d.note(e)
		}
	}
}

// watchCertificate tells people in time that this host's certificate expires, once a day.
func (d *daemon) watchCertificate(ctx context.Context) {
	for {
		if left := time.Until(d.identity.NotAfter); left < expiresSoon {
			severity, what := pgctl.Warning, "expires on "
			if left <= 0 {
				severity, what = pgctl.Alarm, "expired on "
			}
			message := "the certificate of " + d.config.Name + " " + what + d.identity.NotAfter.UTC().Format(time.DateTime) +
				" UTC: issue a new one, put it in " + d.config.TLS.Cert + " and start the daemon again; PostgreSQL goes on meanwhile"
			d.log.Warn(message)
			for !d.current.Load() { // before, it could not be recorded
				if sleep(ctx, time.Second) != nil {
					return
				}
			}
			d.note(pgctl.Event{Severity: severity, Host: d.config.Name, Kind: "certificate.expires", Message: message})
		}
		if sleep(ctx, 24*time.Hour) != nil {
			return
		}
	}
}
