package raftstore

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes Raft's log on.
func raftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(sink{log})
	return l
}

// unreachable is what Raft says about a server that does not answer, several times a second for as long as
// it is away, or the majority is. The transport says so once, with more reason.
var unreachable = []string{
	"failed to make requestVote RPC", "failed to appendEntries to", "failed to heartbeat to", "failed to contact",
	"failed to pipeline appendEntries", "failed to start pipeline replication to", "Election timeout reached, restarting election",
}

type sink struct{ log *slog.Logger }

// Accept passes one message on. What Raft calls info is of use to us only when we look for something.
func (s sink) Accept(name string, level hclog.Level, message string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	if slices.Contains(unreachable, message) {
		to = slog.LevelDebug
	}
	s.log.Log(context.Background(), to, strings.TrimSpace(name+": "+message), args...)
}
