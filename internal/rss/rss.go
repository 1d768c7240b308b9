// Package rss reports how much of its memory the process has had resident.
package rss

// Peak returns the greatest number of resident bytes since the process began or since
// the last [Reset] that succeeded, 0 if the system does not say.
func Peak() int64 { return peak() }

// Anonymous returns the number of resident bytes that no file backs, 0 where the system does
// not say: all but Linux.
func Anonymous() int64 { return anonymous() }

// Reset makes Peak begin anew. Only Linux can; the others return false.
func Reset() bool { return reset() }
