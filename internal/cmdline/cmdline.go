// Package cmdline is what the command line has in common for all commands, whatever they do: the order of flags and
// arguments, mistakes, --help, completion.
package cmdline

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// Prepare sets what the program's commands have in common.
func Prepare(app *cli.App) {
	cli.FlagStringer = flagHelp
	app.EnableBashCompletion = true
	app.DisableSliceFlagSeparator = true              // a pattern may contain commas
	app.ExitErrHandler = func(*cli.Context, error) {} // the program decides
	app.HideHelpCommand = true
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return usage.Errorf("%w; see phi3conv --help", err)
	}
	app.Action = func(c *cli.Context) error {
		if c.Args().Present() && c.Args().First() != "help" {
			return usage.Errorf("no command %q; see phi3conv --help", c.Args().First())
		}
		return cli.ShowAppHelp(c)
	}
	prepare(app.Commands)
}

func prepare(list []*cli.Command) {
	for _, c := range list {
		c.OnUsageError, c.Before = usageErrors, refuseEmpty
		c.HideHelpCommand = true
		prepare(c.Subcommands)
	}
}

// Run runs the command that args ask for, of which the first is the program's name.
func Run(ctx context.Context, app *cli.App, args []string) error {
	return app.RunContext(ctx, FlagsFirst(args, app.Commands))
}

// usageErrors replaces printing the whole help below a mistake.
func usageErrors(c *cli.Context, err error, _ bool) error {
	return usage.Errorf("%w; see phi3conv %s --help", err, c.Command.Name)
}

// mayBeEmpty are the flags whose empty text says something.
var mayBeEmpty = []string{"prompt", "system-prompt", "model-name"}

// refuseEmpty refuses a flag with an empty value, such as that of a variable that a script has not set.
func refuseEmpty(c *cli.Context) error {
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		_, isText := f.(*cli.StringFlag)
		if isText && c.IsSet(name) && c.String(name) == "" && !slices.Contains(mayBeEmpty, name) {
			return usage.Errorf("--%s needs a value", name)
		}
	}
	return nil
}

// Takes reports whether a command has a flag.
func Takes(c *cli.Command, flag string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == flag })
}
