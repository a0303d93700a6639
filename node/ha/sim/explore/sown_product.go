//go:build !mutations

package explore

// sown is false: nothing is planted in what is built without the tag mutations.
func sown() bool { return false }
