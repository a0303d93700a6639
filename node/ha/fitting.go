package ha

import "fmt"

// Fitting holds an instance's log against a leader's, as Compare does, knowing also which timelines its life
// was ever ordered to be on. Two histories under one number can leave their parent at the same point: somebody
// promoted by hand, and the store, which did not hear of it, gave the number to another. Then timelines and
// positions agree, and what the log holds does not.
func Fitting(local Local, s Server, source Source) (Fit, string) {
	own := s.Timeline
	if s.Delayed {
		own = max(own, s.Position.Timeline)
	}
	_, shared := source.History.EndOf(own)
	if local.Mark != 0 && own > local.Mark && (shared || own == source.Timeline) {
		return Beyond, fmt.Sprintf("its timeline %d was given to another: somebody promoted it by hand", own)
	}
	return Compare(s, source)
}
