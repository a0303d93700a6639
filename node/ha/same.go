package ha

import "slices"

// Same says whether two reports say the same, but for what changes all the time: positions, progress, ages,
// probes. It is asked for every heartbeat.
func (r *Report) Same(o *Report) bool {
	return r.Instance == o.Instance && r.Life == o.Life && r.SystemID == o.SystemID && r.State == o.State &&
		r.Detail == o.Detail && r.Failed == o.Failed && r.DiskFull == o.DiskFull && r.Mute == o.Mute && r.Frozen == o.Frozen &&
		(r.StoreAge > FenceAfter) == (o.StoreAge > FenceAfter) && r.LifeLost == o.LifeLost && r.Primary == o.Primary && r.Open == o.Open && r.Epoch == o.Epoch &&
		r.End.Timeline == o.End.Timeline && r.Parent == o.Parent && r.Upstream == o.Upstream && r.Version == o.Version &&
		r.Promised == o.Promised && same(r.Pledge, o.Pledge) && same(r.StoppedAt, o.StoppedAt) &&
		slices.EqualFunc(r.Senders, o.Senders, sameSender) && same(r.Promoted, o.Promoted) && same(r.Confirmed, o.Confirmed) &&
		slices.Equal(r.Pending, o.Pending) && r.InPlace == o.InPlace && r.Restarted == o.Restarted && r.Applied == o.Applied &&
		r.Leased == o.Leased && r.Guarded == o.Guarded && r.Armed == o.Armed && r.Unguarded == o.Unguarded && r.Listed == o.Listed
}

// SameAll says whether they say the same but for ages.
func (r *Report) SameAll(o *Report) bool {
	return r.Same(o) && r.End == o.End && r.Replayed == o.Replayed && r.LeaderEnd == o.LeaderEnd && r.Progress == o.Progress &&
		r.Waiting == o.Waiting && slices.Equal(r.Senders, o.Senders)
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameSender(a, b Sender) bool {
	return a.Life == b.Life && a.Epoch == b.Epoch && a.Streaming == b.Streaming
}
