package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish|powershell",
		Description: `   source <(phi3conv completion bash)     # in ~/.bashrc
   source <(phi3conv completion zsh)      # in ~/.zshrc
   phi3conv completion fish > ~/.config/fish/completions/phi3conv.fish
   phi3conv completion powershell >> $PROFILE`,
		BashComplete: func(c *cli.Context) { _, _ = fmt.Fprintln(c.App.Writer, strings.Join(cmdline.Shells, " ")) },
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 || !slices.Contains(cmdline.Shells, c.Args().First()) {
				return usagef("completion takes the name of one shell: bash, zsh, fish or powershell, got %q",
					c.Args().Slice())
			}
			_, err := fmt.Fprintln(c.App.Writer, cmdline.CompletionScript(c.Args().First()))
			return err
		},
	}
}
