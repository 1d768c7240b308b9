package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Interrupted says what is left of a job whose context was cancelled: words such as ", FILE was not written" follow
// "interrupted". Other errors stay as they are, and so does one that says it already.
func Interrupted(err error, format string, args ...any) error {
	if !errors.Is(err, context.Canceled) || strings.HasPrefix(err.Error(), "interrupted") {
		return err
	}
	return fmt.Errorf("interrupted"+format+": %w", append(args, context.Canceled)...)
}
