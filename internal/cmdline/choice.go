package cmdline

import "github.com/urfave/cli/v2"

// choice is a flag whose values are known.
type choice struct {
	*cli.StringFlag
	values []string
	list   bool // several values, separated by commas
}

// OneOf makes a flag whose value is one of a list. The command checks that it is.
func OneOf(values []string, f *cli.StringFlag) cli.Flag { return &choice{f, values, false} }

// ListOf makes a flag whose value is some of a list, separated by commas. The command checks that they are.
func ListOf(values []string, f *cli.StringFlag) cli.Flag { return &choice{f, values, true} }

// valuesOf returns what a flag may be, nil if there is no list.
func valuesOf(f cli.Flag) []string {
	if c, ok := f.(*choice); ok {
		return c.values
	}
	return nil
}
