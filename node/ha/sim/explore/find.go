package explore

// Find searches the worlds in which bugs show, each up to so many states, until it finds a violation: the
// number of states that were looked at by then, and the shortest history. Without one, history is nil.
func Find(bound int) (violation string, states int, history []string) {
	for _, c := range hunts() {
		c.States = bound
		r := Search(c)
		states += r.States
		if r.Violation != "" {
			return c.Name + ": " + r.Violation, states, r.History
		}
	}
	return "", states, nil
}

// hunts are small worlds that differ in what goes wrong in them.
func hunts() []Config {
	return []Config{
		{Name: "two from alone", Nodes: 2, Acks: 1, Epochs: 2, Writes: 1, Changes: 1},
		{Name: "coarse: a stray promotion", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Strays: 1},
		{Name: "two, a crash", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 1, Crashes: 1},
		{Name: "a switchover", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Plans: 1},
		{Name: "loss accepted", Nodes: 2, Acks: 1, Coarse: true, Epochs: 3, Writes: 2, Crashes: 1, Losses: 1},
		{Name: "coarse: a disk", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Disks: 1, Changes: 1},
		{Name: "coarse: three", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 2},
		{Name: "coarse: rule changes", Nodes: 3, Acks: 2, Joined: 1, Coarse: true, Epochs: 3, Writes: 1, Changes: 2},
		{Name: "coarse: three, a crash", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Crashes: 1},
		{Name: "coarse: two", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Epochs: 3, Writes: 2, Crashes: 1, Disks: 1},
		{Name: "coarse: three, three writes", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 3},
		{Name: "three of two, one joins", Nodes: 3, Acks: 2, Joined: 1, Epochs: 2, Writes: 1, Changes: 1},
		{Name: "three, a crash", Nodes: 3, Acks: 1, Joined: 2, Epochs: 2, Writes: 1, Crashes: 1},
		{Name: "a cut", Nodes: 3, Acks: 2, Joined: 2, Epochs: 2, Writes: 1, Cuts: 1},
	}
}
