// Package cmdline is what the command line has in common for all commands, whatever they do: the order of flags and
// arguments, mistakes, --help, completion.
package cmdline

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// Prepare sets what the program's commands have in common.
func Prepare(app *cli.App) {
	cli.FlagStringer = flagHelp
	app.DisableSliceFlagSeparator = true              // a pattern may contain commas
	app.ExitErrHandler = func(*cli.Context, error) {} // the program decides
	app.HideHelpCommand = true
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return usage.Errorf("%w; see phi3conv --help", err)
	}
	app.Action = cli.ShowAppHelp
	prepare(app.Commands)
}

func prepare(list []*cli.Command) {
	for _, c := range list {
		c.HideHelpCommand = true
		c.OnUsageError = func(c *cli.Context, err error, _ bool) error {
			return usage.Errorf("%w; see phi3conv %s --help", err, c.Command.Name)
		}
		prepare(c.Subcommands)
	}
}

// Run runs the command that args ask for, of which the first is the program's name. change, if not nil, returns what a
// value becomes before the command sees it.
func Run(ctx context.Context, app *cli.App, args []string, change func(Value) (string, error)) error {
	if len(args) > 2 && args[1] == completeCommand {
		return complete(app.Writer, app, args[2], args[3:])
	}
	if len(args) == 4 && args[1] == manCommand {
		return writeManual(app, args[2], args[3])
	}
	l, err := read(app, args)
	if err != nil {
		return err
	}
	if err := l.resolve(change); err != nil {
		return err
	}
	return l.spell(app.RunContext(ctx, l.words))
}

// Takes reports whether a command has a flag.
func Takes(c *cli.Command, flag string) bool { return findFlag(c, flag) != nil }
