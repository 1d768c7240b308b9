package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/build"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/urfave/cli/v2"
)

// version is set by the release build: -ldflags "-X main.version=v1.2.3".
var version = ""

// thisBuild says which program this is.
func thisBuild() build.Info { return build.Read(version, kern.Best().Name) }

// versionString returns the stamped version, or what the Go tool recorded.
func versionString() string { return thisBuild().Version }

// commands makes the table of commands: a new one is its own file and one line here. Flags set variables of
// their command, so every command line has commands of its own.
func commands() []*cli.Command {
	list := []*cli.Command{
		convertCommand(),
		quantizeCommand(),
		reproduceCommand(),
		calibrateCommand(),
		inspectCommand(),
		lintCommand(),
		logitsCommand(),
		sealCommand(),
		verifyCommand(),
		evalCommand(),
		tokenizeCommand(),
		detokenizeCommand(),
		runCommand(),
		benchCommand(),
		packCommand(),
		unpackCommand(),
		pushCommand(),
		pullCommand(),
		demoCommand(),
		versionCommand(),
		completionCommand(),
	}
	prepare(list)
	return list
}

// prepare sets what all commands have in common.
func prepare(list []*cli.Command) {
	for _, c := range list {
		c.OnUsageError, c.Before = usageErrors, refuseEmpty
		c.HideHelpCommand = true
		prepare(c.Subcommands)
	}
}

// usageErrors replaces printing the whole help below a mistake.
func usageErrors(c *cli.Context, err error, _ bool) error {
	return usagef("%w; see phi3conv %s --help", err, c.Command.Name)
}

// mayBeEmpty are the flags whose empty text says something.
var mayBeEmpty = []string{"prompt", "system-prompt", "model-name"}

// refuseEmpty refuses a flag with an empty value, such as that of a variable that a script has not set.
func refuseEmpty(c *cli.Context) error {
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		_, isText := f.(*cli.StringFlag)
		if isText && c.IsSet(name) && c.String(name) == "" && !slices.Contains(mayBeEmpty, name) {
			return usagef("--%s needs a value", name)
		}
	}
	return nil
}

func newApp() *cli.App {
	return &cli.App{
		Name:                      "phi3conv",
		Usage:                     "convert, quantize, check and run Phi models",
		Version:                   versionString(),
		Commands:                  commands(),
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,                         // a pattern may contain commas
		ExitErrHandler:            func(*cli.Context, error) {}, // main decides
		HideHelpCommand:           true,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("%w; see phi3conv --help", err)
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() && c.Args().First() != "help" {
				return usagef("no command %q; see phi3conv --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Description: fmt.Sprintf(`Exit codes: 0 ok, 1 a check failed, 2 usage, 3 bad input, 4 I/O, 130 interrupted,
143 terminated. With --json a failure is an object on standard output; docs/exit-codes.md says more.

PHI3CONV_CPU=%s or %s selects the
kernels (default: the fastest that the CPU has). GGUF files do not depend on it.`,
			strings.Join(kern.Names[:len(kern.Names)-1], ", "), kern.Names[len(kern.Names)-1]),
	}
}
