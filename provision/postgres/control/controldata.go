package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// ControlData reads pg_control. While the server runs, and before recovery, it lags behind the data.
func (i *Instance) ControlData(ctx context.Context) (ControlData, error) {
	text, err := i.tool(ctx, i.PGData(), nil, "pg_controldata", "-D", i.PGData())
	if err != nil {
		return ControlData{}, err
	}
	return ParseControlData(text)
}

// ParseControlData reads what pg_controldata prints in the C locale.
func ParseControlData(text string) (ControlData, error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	c := ControlData{SystemID: fields["Database system identifier"], State: fields["Database cluster state"]}
	if c.SystemID == "" || c.State == "" {
		return ControlData{}, fmt.Errorf("pg_controldata shows no system identifier or state")
	}
	var err error
	timeline := func(name string) pgctl.Timeline {
		n, e := strconv.ParseUint(fields[name], 10, 32)
		if e != nil && err == nil {
			err = fmt.Errorf("pg_controldata: %s: %w", name, e)
		}
		return pgctl.Timeline(n)
	}
	lsn := func(name string) pgctl.LSN {
		n, e := pgctl.ParseLSN(fields[name])
		if e != nil && err == nil {
			err = fmt.Errorf("pg_controldata: %s: %w", name, e)
		}
		return n
	}
	c.Timeline = timeline("Latest checkpoint's TimeLineID")
	c.Checkpoint = lsn("Latest checkpoint location")
	c.Redo = lsn("Latest checkpoint's REDO location")
	c.MinRecovery = pgctl.Position{
		Timeline: timeline("Min recovery ending loc's timeline"),
		LSN:      lsn("Minimum recovery ending location"),
	}
	return c, err
}

// Clean says whether the server was shut down in order.
func (c ControlData) Clean() bool { return strings.HasPrefix(c.State, "shut down") }
