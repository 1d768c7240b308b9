// Package stops ends a text before strings at which it is to stop.
package stops

import "strings"

// Finder finds stop strings in a text that comes in pieces, wherever the pieces end.
type Finder struct {
	Stops []string
	held  string // may be the beginning of a stop string
}

// Held returns what was held back: it belongs to the text if that has ended.
func (s *Finder) Held() string { return s.held }

// Add takes the next piece and returns the text that is certain to lie before any stop
// string, and whether one is complete: the one that ends first, the longest of these.
func (s *Finder) Add(piece string) (text string, found bool) {
	s.held += piece
	start, end := len(s.held), len(s.held)+1
	for _, stop := range s.Stops {
		if i := strings.Index(s.held, stop); i >= 0 && (i+len(stop) < end || i+len(stop) == end && i < start) {
			start, end = i, i+len(stop)
		}
	}
	if end <= len(s.held) {
		text, s.held = s.held[:start], ""
		return text, true
	}
	n := 0 // bytes to hold
	for _, stop := range s.Stops {
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
