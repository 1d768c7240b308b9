package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// CompletionFlag is what the completion scripts add, see [CompletionScript].
const CompletionFlag = "--generate-bash-completion"

// FlagsFirst moves a command's flags before its other arguments, so that
// "convert DIR -o FILE" works: the flag package stops at the first argument that
// is no flag. What follows "--" stays.
func FlagsFirst(args []string, commands []*cli.Command) []string {
	if len(args) < 2 {
		return args
	}
	if last := len(args) - 1; args[last] == CompletionFlag {
		// The cli package answers a shell's question only where this comes last.
		rest := FlagsFirst(args[:last], commands)
		return append(rest, CompletionFlag)
	}
	var command *cli.Command
	for _, c := range commands {
		if c.HasName(args[1]) {
			command = c
		}
	}
	if command == nil {
		return args
	}
	isNext := func(s *cli.Command) bool { return len(args) > 2 && s.HasName(args[2]) }
	if slices.ContainsFunc(command.Subcommands, isNext) {
		return append([]string{args[0]}, FlagsFirst(args[1:], command.Subcommands)...)
	}
	flags := append([]string(nil), args[:2]...)
	var rest []string
	for i := 2; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		flags = append(flags, arg)
		if takesValue(command, arg) && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	return append(flags, rest...)
}

// takesValue reports whether the argument is a flag whose value is the next one.
func takesValue(c *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range c.Flags {
		for _, n := range f.Names() {
			if n == name {
				d, ok := f.(cli.DocGenerationFlag)
				return ok && d.TakesValue()
			}
		}
	}
	return false
}
