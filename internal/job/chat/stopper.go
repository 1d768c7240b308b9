package chat

import "strings"

// stopper finds stop strings in a text that comes in pieces, wherever the pieces end.
type stopper struct {
	stops []string
	held  string // may be the beginning of a stop string
}

// add takes the next piece and returns the text that is certain to lie before any stop
// string, and whether one is complete: the one that ends first, the longest of these.
func (s *stopper) add(piece string) (text string, found bool) {
	s.held += piece
	start, end := len(s.held), len(s.held)+1
	for _, stop := range s.stops {
		if i := strings.Index(s.held, stop); i >= 0 && (i+len(stop) < end || i+len(stop) == end && i < start) {
			start, end = i, i+len(stop)
		}
	}
	if end <= len(s.held) {
		text, s.held = s.held[:start], ""
		return text, true
	}
	n := 0 // bytes to hold
	for _, stop := range s.stops {
		for k := min(len(stop)-1, len(s.held)); k > n; k-- {
			if strings.HasSuffix(s.held, stop[:k]) {
				n = k
			}
		}
	}
	cut := len(s.held) - n
	text, s.held = s.held[:cut], s.held[cut:]
	return text, false
}
