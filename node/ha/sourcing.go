package ha

import "github.com/pgctl/pgctl"

// Sourcing is what an agent knows of the data of the leader that its instance is to follow. An answer
// counts only if it was asked for after the own receiver was gone: the leader must not seem to end
// before us.
type Sourcing struct {
	Source  *Source // the last answer that counts; nil: none
	settled bool    // alone and replayed to the end: the state in which histories are compared
}

// Look takes a view into account and puts the source into it that may be relied on. ask says that an
// answer is needed; void that one that is under way must not count.
func (s *Sourcing) Look(v *InstanceView) (ask, void bool) {
	l, own := v.Leadership, v.Server
	alone := own.Directory == NoDirectory || v.Local.Rewinding != 0 || own.Receiver == "" && own.Upstream == ""
	follows := l.Leader != "" && l.Leader != v.Self.Life && (l.Phase == pgctl.Promoting || l.Phase == pgctl.Steady)
	streaming := own.Upstream == v.Self.Life.MemberName(l.Epoch)
	if settled := alone && own.AtEnd; settled != s.settled {
		s.settled, s.Source, void = settled, nil, true // an older answer knows less than what was received
	}
	if !follows || !alone && !streaming {
		s.Source = nil
		return false, void
	}
	if stuck := streaming && own.AtEnd && own.Receiver == ""; stuck && s.fits(l) {
		v.Source = s.Source
		return true, void // the leader may have let go meanwhile of what it needs
	}
	if s.fits(l) && (streaming || s.Source.Checkpoint == s.Source.Timeline) {
		v.Source = s.Source
		return false, void
	}
	return true, void
}

// Take notes an answer, nil for none, and puts it into the view if it is the leader's.
func (s *Sourcing) Take(v *InstanceView, answer *Source) {
	s.Source = answer
	if s.fits(v.Leadership) {
		v.Source = answer
	}
}

func (s *Sourcing) fits(l pgctl.Leadership) bool {
	return s.Source != nil && s.Source.Epoch == l.Epoch && s.Source.Life == l.Leader
}

// Followable says whether an instance leads the epoch and its data can be followed: a promotion that is
// under way, or not noted yet, has an end that may still move.
func Followable(l pgctl.Leadership, self pgctl.Life, epoch pgctl.Epoch, seen Observed) bool {
	promoted := l.Phase == pgctl.Steady || seen.Promoted != nil && seen.Promoted.Epoch == l.Epoch
	return l.Epoch == epoch && l.Leader == self && seen.Primary && seen.State == Running && promoted
}

// Yields says whether a step that is under way gives way to newer decisions.
func (s Step) Yields() bool { return s.Do == Confirm }

// Outdated says whether a step that was begun under an older leadership is to end because its epoch is
// over and it could hold up the next one for ever: a promotion or a recovery that does not come to its
// end, a copy from a leader that was replaced.
func (s Step) Outdated(was, now pgctl.Leadership) bool {
	switch s.Do {
	case Promote, Start, Follow, Detach:
		return now.Epoch > was.Epoch
	case CopyData, Rewind:
		return now.Leader != "" && now.Leader != was.Leader
	}
	return false
}
