package explore

// Small are worlds that are searched completely within seconds.
func Small() []Config {
	return []Config{
		{Name: "two: power losses", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 2, Crashes: 2},
		{Name: "two: rule changes", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 1, Changes: 3},
		{Name: "two: a disk is lost", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 1, Disks: 1, Changes: 1},
		{Name: "two: connections break", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 2, Cuts: 2},
		{Name: "three: a commit", Nodes: 3, Acks: 1, Joined: 2, Epochs: 2, Writes: 1},
		{Name: "coarse, three: elections", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 2},
		{Name: "coarse, three: rule changes", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Changes: 2},
		{Name: "coarse, three: one joins", Nodes: 3, Acks: 2, Joined: 1, Coarse: true, Epochs: 2, Writes: 1, Changes: 2},
		{Name: "coarse, three: a disk is lost", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 1, Disks: 1, Changes: 1},
		{Name: "coarse, three: promoted by hand", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 2, Writes: 2, Strays: 1},
		{Name: "coarse, four", Nodes: 4, Acks: 2, Joined: 3, Coarse: true, Epochs: 2, Writes: 1},
		{Name: "lively, two: rule changes", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Lively: true, Epochs: 3, Crashes: 1, Changes: 3},
		{Name: "lively, two: four epochs", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Lively: true, Epochs: 4, Crashes: 2},
		{Name: "lively, three: a power loss", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Lively: true, Epochs: 3, Crashes: 1},
		{Name: "lively, three: a disk is lost", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Lively: true, Epochs: 3, Disks: 1},
	}
}

// Worlds are those that make explore searches: the small ones, then others that take longer, or are too large
// to be searched completely.
func Worlds() []Config {
	const some, many = 1_500_000, 4_000_000
	return append(Small(),
		Config{Name: "two: three epochs", Nodes: 2, Acks: 1, Joined: 1, Epochs: 3, Writes: 2, Crashes: 1, States: many},
		Config{Name: "two: a power loss, rule changes", Nodes: 2, Acks: 1, Joined: 1, Epochs: 2, Writes: 1, Crashes: 1, Changes: 2, States: many},
		Config{Name: "two: orders of operators", Nodes: 2, Acks: 1, Joined: 1, Epochs: 3, Writes: 1, Plans: 2, States: some},
		Config{Name: "two: promoted by hand", Nodes: 2, Acks: 1, Joined: 1, Epochs: 3, Writes: 2, Strays: 1, States: many},
		Config{Name: "two: loss accepted", Nodes: 2, Acks: 1, Epochs: 3, Writes: 2, Crashes: 1, Losses: 1, States: some},
		Config{Name: "three: a power loss", Nodes: 3, Acks: 1, Joined: 2, Epochs: 2, Writes: 1, Crashes: 1, States: many},
		Config{Name: "three: one joins", Nodes: 3, Acks: 2, Joined: 1, Epochs: 2, Writes: 1, Changes: 1, States: many},
		Config{Name: "three: one leaves", Nodes: 3, Acks: 1, Joined: 2, Epochs: 2, Writes: 1, Changes: 1, Stubborn: true, States: many},
		Config{Name: "coarse, two: loss accepted", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Epochs: 3, Writes: 2, Crashes: 1, Losses: 1},
		Config{Name: "coarse, two: a disk, a rule change", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Epochs: 3, Writes: 2, Crashes: 1, Disks: 1, Changes: 1},
		Config{Name: "coarse, two: by hand, a power loss", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Epochs: 3, Writes: 2, Crashes: 1, Strays: 1},
		Config{Name: "coarse, two: five epochs", Nodes: 2, Acks: 1, Joined: 1, Coarse: true, Epochs: 5, Writes: 2, Crashes: 2, States: many},
		Config{Name: "coarse, three: a power loss", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 1, Crashes: 1, States: many},
		Config{Name: "coarse, three: by hand, later", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 1, Strays: 1},
		Config{Name: "lively, three: rule changes", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Lively: true, Epochs: 3, Changes: 3},
		Config{Name: "lively, three: promoted by hand", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Lively: true, Epochs: 3, Strays: 1},
		Config{Name: "coarse, three: orders", Nodes: 3, Acks: 1, Joined: 2, Coarse: true, Epochs: 3, Writes: 1, Plans: 1, States: some},
		Config{Name: "coarse, three: diverged", Nodes: 3, Acks: 2, Joined: 2, Coarse: true, Epochs: 3, Writes: 3, States: many},
		Config{Name: "coarse, three: strict", Nodes: 3, Acks: 1, Joined: 2, Strict: true, Coarse: true, Epochs: 3, Writes: 1, Changes: 2, States: some},
		Config{Name: "coarse, four: two acknowledge", Nodes: 4, Acks: 2, Joined: 3, Coarse: true, Epochs: 3, Writes: 1, States: some},
	)
}
