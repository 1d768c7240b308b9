package main

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/internal/build"
	"github.com/phi3conv/phi3conv/internal/cmdline"
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
	return []*cli.Command{
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
		serveCommand(),
		benchCommand(),
		tuneCommand(),
		batchCommand(),
		packCommand(),
		unpackCommand(),
		pushCommand(),
		pullCommand(),
		demoCommand(),
		versionCommand(),
		completionCommand(),
	}
}

func newApp() *cli.App {
	app := &cli.App{
		Name:     "phi3conv",
		Usage:    "convert, quantize, check and run Phi models",
		Version:  versionString(),
		Commands: commands(),
		Description: fmt.Sprintf(`Exit codes: 0 ok, 1 a check failed, 2 usage, 3 bad input, 4 I/O, 130 interrupted,
143 terminated. With --json a failure is an object on standard output; docs/exit-codes.md says
more.

PHI3CONV_CPU=%s or %s selects the
kernels (default: the fastest that the CPU has). GGUF files do not depend on it.
PHI3CONV_TUNE=off or force: see "phi3conv tune --help".`,
			strings.Join(kern.Names[:len(kern.Names)-1], ", "), kern.Names[len(kern.Names)-1]),
	}
	cmdline.Prepare(app)
	return app
}
