// Package rss reports how much memory of the process is resident, that is in RAM.
package rss

// Peak returns the greatest number of resident bytes since the process began or since
// the last [Reset] that succeeded, 0 if the system does not say.
func Peak() int64 { return peak() }

// Anonymous returns the number of resident bytes that no file backs, 0 where the system does
// not say: all but Linux.
func Anonymous() int64 { return anonymous() }

// Reset lets Peak start again from what is resident now. It returns false where the system cannot do that: all but
// Linux.
func Reset() bool { return reset() }
