package gossip

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/pgctl/pgctl"
)

// delegate is what memberlist calls.
type delegate struct{ *Gossip }

// NodeMeta is what others get to know about us.
func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tags
}

// NotifyMsg, GetBroadcasts, LocalState and MergeRemoteState carry messages of applications: none here.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to send.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to say.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState expects nothing.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyJoin notes a host that came.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.note(n, true) }

// NotifyUpdate notes new tags.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.note(n, true) }

// NotifyLeave notes a host that left or died.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.note(n, false) }

// NotifyConflict reports that two hosts use one name.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.trouble.report("name "+existing.Name, pgctl.Errorf(pgctl.CodeConflict,
		"two hosts call themselves %s: %s and %s", existing.Name, existing.Address(), other.Address()).
		WithHint("give one of them another name in its configuration"))
}

const sayAgainAfter = time.Minute

// troubles tells each trouble once a minute.
type troubles struct {
	tell func(*pgctl.Error)
	log  *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time
}

func (t *troubles) report(key string, e *pgctl.Error) {
	now := time.Now()
	t.mu.Lock()
	// Addresses of strangers must not fill the memory.
	for k, at := range t.said {
		if now.Sub(at) >= sayAgainAfter {
			delete(t.said, k)
		}
	}
	_, quiet := t.said[key]
	if !quiet {
		t.said[key] = now
	}
	t.mu.Unlock()
	if quiet {
		return
	}
	t.log.Warn("gossip: " + e.Error())
	if t.tell != nil {
		t.tell(e)
	}
}

// undecipherable is how memberlist words, in lower case, that two keys differ.
var undecipherable = []string{
	"no installed keys could decrypt", "decrypt packet failed",
	"encryption is configured but remote state is not encrypted",
	"remote state is encrypted and encryption is not configured",
}

// wrongKey recognizes and reports it.
func (t *troubles) wrongKey(text, from string) bool {
	text = strings.ToLower(text)
	for _, part := range undecipherable {
		if strings.Contains(text, part) {
			t.report("key "+from, pgctl.Errorf(pgctl.CodeUnauthorized, "the gossip key of %s differs from ours", from).
				WithHint("all hosts of an installation share one key: compare their configurations"))
			return true
		}
	}
	return false
}

// logWriter takes memberlist's log lines. Nearly all are of interest to its developers only.
type logWriter struct {
	log     *slog.Logger
	trouble *troubles
}

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if !w.trouble.wrongKey(text, sender(text)) {
		w.log.Debug("gossip: " + text)
	}
	return len(line), nil
}

// sender finds "from=IP:PORT" as memberlist logs it, and keeps the IP: the port of a connection is
// another one each time.
func sender(text string) string {
	_, after, found := strings.Cut(text, "from=")
	if !found {
		return "another host"
	}
	address, _, _ := strings.Cut(after, " ")
	return withoutPort(address)
}
