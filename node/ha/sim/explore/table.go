package explore

import "slices"

// table is the set of the states that were found, by their identities, with how each was reached first.
type table struct {
	found []entry
	slots []uint32 // open addressing: number of an entry, plus 1
}

type entry struct {
	identity uint64
	parent   uint32
	step     step
}

func (t *table) len() int { return len(t.found) }

// slot is where an identity is, or would be.
func (t *table) slot(identity uint64) int {
	mask := uint64(len(t.slots) - 1)
	at := identity & mask
	for t.slots[at] != 0 && t.found[t.slots[at]-1].identity != identity {
		at = (at + 1) & mask
	}
	return int(at)
}

func (t *table) has(identity uint64) bool { return len(t.slots) > 0 && t.slots[t.slot(identity)] != 0 }

// add notes a state; added says whether it is new.
func (t *table) add(identity uint64, parent uint32, how step) (number uint32, added bool) {
	if len(t.found)*2 >= len(t.slots) {
		t.slots = make([]uint32, max(1024, 2*len(t.slots)))
		for i := range t.found {
			t.slots[t.slot(t.found[i].identity)] = uint32(i + 1)
		}
	}
	at := t.slot(identity)
	if t.slots[at] != 0 {
		return t.slots[at] - 1, false
	}
	t.found = append(t.found, entry{identity, parent, how})
	t.slots[at] = uint32(len(t.found))
	return uint32(len(t.found) - 1), true
}

// history is what happened until a state, one line a step.
func (t *table) history(number uint32) []string {
	var lines []string
	for number != 0 {
		lines = append(lines, t.found[number].step.text())
		number = t.found[number].parent
	}
	slices.Reverse(lines)
	return lines
}
