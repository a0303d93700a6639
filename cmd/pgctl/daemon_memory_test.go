package main

import "testing"

func TestGarbageIsBounded(t *testing.T) {
	for alive, want := range map[uint64]int{0: 200, 1: 200, 8 << 20: 200, 20 << 20: 160, 32 << 20: 100, 64 << 20: 50, 1 << 30: 40, 1 << 40: 40} {
		if got := garbagePercent(alive); got != want {
			t.Errorf("%d MB alive: %d %%, not %d %%", alive>>20, got, want)
		}
	}
}
