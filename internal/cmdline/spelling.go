package cmdline

import (
	"regexp"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// respelled is an error whose text has the flags as they were typed.
type respelled struct {
	error
	text string
}

func (e *respelled) Error() string { return e.text }

func (e *respelled) Unwrap() error { return e.error }

var flagInText = regexp.MustCompile(`(^|[^\w./-])--([a-z0-9][a-z0-9-]*)`)

// spell returns the error with each flag as it was typed: -c where that is what stands for --ctx-size.
func (l *line) spell(err error) error {
	if err == nil {
		return nil
	}
	text := flagInText.ReplaceAllStringFunc(err.Error(), func(found string) string {
		before, name, _ := strings.Cut(found, "--")
		for _, s := range l.typed {
			if slices.Contains(s.names, name) {
				return before + s.as
			}
		}
		return found
	})
	if text == err.Error() {
		return err
	}
	return &respelled{err, text}
}

// nearest returns the name that was probably meant, "" if none is near.
func nearest(word string, names []string) (name string) {
	least := 1 + min(2, max(0, len(word)-2))
	for _, n := range names {
		if d := smetrics.WagnerFischer(word, n, 1, 1, 1); d < least {
			least, name = d, n
		}
	}
	return name
}
