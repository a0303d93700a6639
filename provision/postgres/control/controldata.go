package control

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"github.com/pgctl/pgctl"
)

// ControlData reads pg_control. While the server runs, and before recovery, it lags behind the data.
func (i *Instance) ControlData(_ context.Context) (ControlData, error) {
	data, err := os.ReadFile(i.file("global/pg_control"))
	if err != nil {
		return ControlData{}, err
	}
	return ParseControlData(data)
}

// controlVersions are the layouts of pg_control that are known here: of PostgreSQL 13 to 16, 17 and 18.
// What is read lies at the same places in all of them.
var controlVersions = map[uint32]bool{1300: true, 1700: true, 1800: true}

// controlStates are the names that pg_controldata gives to the states, in their order.
var controlStates = []string{
	"starting up", "shut down", "shut down in recovery", "shutting down", "in crash recovery", "in archive recovery",
	"in production",
}

// ParseControlData reads the contents of pg_control as a 64-bit server of this machine wrote them.
func ParseControlData(data []byte) (ControlData, error) {
	const end = 200
	if len(data) < end {
		return ControlData{}, fmt.Errorf("pg_control has %d bytes only", len(data))
	}
	number := func(at int) uint32 { return binary.NativeEndian.Uint32(data[at:]) }
	lsn := func(at int) pgctl.LSN { return pgctl.LSN(binary.NativeEndian.Uint64(data[at:])) }
	if version := number(8); !controlVersions[version] {
		return ControlData{}, fmt.Errorf("pg_control has the unknown version %d", version)
	}
	state := number(16)
	if int(state) >= len(controlStates) {
		return ControlData{}, fmt.Errorf("pg_control shows the unknown state %d", state)
	}
	return ControlData{
		SystemID: fmt.Sprint(binary.NativeEndian.Uint64(data)), State: controlStates[state],
		Timeline: pgctl.Timeline(number(48)), Checkpoint: lsn(32), Redo: lsn(40),
		MinRecovery: pgctl.Position{LSN: lsn(136), Timeline: pgctl.Timeline(number(144))},
		Leader: map[string]int{
			"max_connections": int(number(180)), "max_worker_processes": int(number(184)), "max_wal_senders": int(number(188)),
			"max_prepared_transactions": int(number(192)), "max_locks_per_transaction": int(number(196)),
		},
	}, nil
}

// Clean says whether the server was shut down in order.
func (c ControlData) Clean() bool { return strings.HasPrefix(c.State, "shut down") }
