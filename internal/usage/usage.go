// Package usage has the error of a user who asks for what makes no sense: an option's value out of
// range, options that contradict each other. It is no fault of a file.
package usage

import "fmt"

// Error is a mistake in what was asked for. The program ends with 2 for it.
type Error struct{ Err error }

// Errorf makes an Error.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }
