//go:build !mutations

package planted

// On is false: what is built without the tag mutations keeps every rule.
func (Bug) On() bool { return false }
