package pgctl

import "time"

// Instant is a moment of one boot of one host: CLOCK_BOOTTIME, which counts sleep and never jumps,
// and the boot it belongs to. Instants of two boots or hosts cannot be compared, and Since says so
// instead of answering nonsense.
type Instant struct {
	Boot string        `json:"boot"`
	Up   time.Duration `json:"up"`
}

// Since is the time from earlier to i; false when the two are not of one boot, or earlier is later.
func (i Instant) Since(earlier Instant) (time.Duration, bool) {
	if i.Boot != earlier.Boot || i.Boot == "" || i.Up < earlier.Up {
		return 0, false
	}
	return i.Up - earlier.Up, true
}

// Add moves an instant within its boot.
func (i Instant) Add(d time.Duration) Instant { return Instant{Boot: i.Boot, Up: i.Up + d} }
