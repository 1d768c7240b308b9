package cmdline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// line is a command line, read as far as the commands' flags tell.
type line struct {
	app     *cli.App
	command *cli.Command // nil if none is named
	name    string       // the words that name it
	words   []string     // for the cli package: flags before other arguments
	typed   []spelling   // flags that were given
	values  []Value      // of flags and arguments, in the order of words that follow the command's name
}

// Value is a flag's value, or an argument.
type Value struct {
	Command string
	Flag    string // the flag's first name, "" of an argument
	Index   int    // of an argument, from 0
	Text    string
}

// spelling is how a flag was typed.
type spelling struct {
	names []string // those of the flag
	as    string
}

// read puts a command's flags before its other arguments, so that "convert DIR -o FILE" works: the flag package stops
// at the first argument that is no flag. What follows "--" is no flag. Flags of other programs become ours.
func read(app *cli.App, args []string) (*line, error) {
	l := &line{app: app, words: args}
	rest := args[min(1, len(args)):]
	help := len(rest) > 0 && (rest[0] == "help" || isHelp(rest[0]))
	if help {
		rest = rest[1:]
	}
	list := app.Commands
	for len(rest) > 0 {
		c := commandOf(list, rest[0])
		if c == nil {
			break
		}
		l.command, list, rest = c, c.Subcommands, rest[1:]
		l.name = strings.TrimSpace(l.name + " " + c.Name)
	}
	l.words = append([]string{app.Name}, strings.Fields(l.name)...)
	switch {
	case help && len(rest) > 0 && !isHelp(rest[0]):
		return l, l.noCommand(list, rest[0])
	case help || l.command != nil && Given(rest, helpFlags...):
		l.words = append(l.words, "--help")
		return l, nil
	case l.command != nil:
		return l, l.readFlags(rest)
	case len(rest) == 0 || rest[0] == "--version" || rest[0] == "-v":
		l.words = append(l.words, rest...)
		return l, nil
	}
	return l, l.noCommand(list, rest[0])
}

var helpFlags = []string{"--help", "-help", "-h"}

func isHelp(arg string) bool { return slices.Contains(helpFlags, arg) }

// Given reports whether one of some flags, as they are typed, is among arguments.
func Given(args []string, flags ...string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(flags, arg) })
}

// noCommand is the error of a word in place of a command.
func (l *line) noCommand(list []*cli.Command, word string) error {
	if strings.HasPrefix(word, "-") {
		return usage.Errorf("%s: a command comes first, such as phi3conv run; see phi3conv --help", word)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Names()...)
	}
	hint := ""
	program := strings.TrimSuffix(strings.TrimPrefix(word, "llama-"), ".py")
	ours := foreignCommands[program]
	if slices.Contains(names, program) {
		ours = program
	}
	if ours != "" && l.command == nil {
		hint = "; phi3conv " + ours + " does that"
	} else if near := nearest(word, names); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	see := strings.TrimSpace("phi3conv " + l.name)
	return usage.Errorf("no command %q%s; see %s --help", strings.TrimSpace(l.name+" "+word), hint, see)
}

// readFlags reads what follows the words that name the command.
func (l *line) readFlags(args []string) error {
	var flags []Value
	var rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !looksLikeFlag(arg) {
			rest = append(rest, arg)
			continue
		}
		w := &word{typed: arg}
		w.typed, w.value, w.attached = strings.Cut(arg, "=")
		if err := l.find(w); err != nil {
			return err
		}
		if !w.attached {
			next, err := l.value(w, args[i+1:])
			if err != nil {
				return l.see(err)
			}
			i += next
		}
		switch {
		case w.flag != nil:
			if err := w.check(l.command); err != nil {
				return l.see(err)
			}
			l.typed = append(l.typed, spelling{w.flag.Names(), w.typed})
			flags = append(flags, Value{Command: l.name, Flag: w.flag.Names()[0], Text: w.value})
		case w.argument:
			rest = append(rest, w.value)
		}
	}
	l.values = flags
	for i, arg := range rest {
		l.values = append(l.values, Value{Command: l.name, Index: i, Text: arg})
	}
	return nil
}

// resolve puts the values after the command's name. change returns what each becomes.
func (l *line) resolve(change func(Value) (string, error)) error {
	if l.values == nil {
		return nil
	}
	var flags, rest []string
	for _, v := range l.values {
		text, err := v.Text, error(nil)
		if change != nil {
			text, err = change(v)
		}
		if err != nil {
			return err
		}
		if v.Flag != "" {
			flags = append(flags, "--"+v.Flag+"="+text)
		} else {
			rest = append(rest, text)
		}
	}
	l.words = slices.Concat(l.words, flags, []string{"--"}, rest)
	return nil
}

// looksLikeFlag reports whether an argument is a flag: not "-", which is a file, nor "-1".
func looksLikeFlag(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	dashes := len(arg) - len(name)
	return (dashes == 1 || dashes == 2) && name != "" && (name[0] < '0' || name[0] > '9') && name[0] != '.'
}

// word is a flag of a command line.
type word struct {
	typed      string // as it was typed, without "=" and what follows
	value      string
	attached   bool     // the value follows "="
	flag       cli.Flag // nil if the value is an argument, or nothing is to be done
	takesValue bool
	argument   bool
}

// find finds out which flag it is.
func (l *line) find(w *word) error {
	name := strings.TrimLeft(w.typed, "-")
	f := findFlag(l.command, name)
	if f == nil {
		other := foreignFlag(l.command, name)
		switch {
		case other == nil:
			return l.see(l.unknown(w.typed, name))
		case other.Say != "":
			return l.see(usage.Errorf("%s is no flag of %s: %s", w.typed, l.name, other.Say))
		case other.Flag == Argument:
			w.argument, w.takesValue = true, true
			return nil
		case other.Flag == Nothing:
			return nil
		}
		f = findFlag(l.command, other.Flag)
	}
	w.flag = f
	w.takesValue = takesValue(f)
	return nil
}

// findFlag returns a command's flag, nil if it has none of the name.
func findFlag(c *cli.Command, name string) cli.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// value sets the value of a flag without "=" from the words after it, and returns how many it takes.
func (l *line) value(w *word, next []string) (int, error) {
	switch {
	case !w.takesValue && w.flag != nil && len(next) > 0 && (next[0] == "true" || next[0] == "false"):
		return 0, usage.Errorf("%s %s: write %s=%s", w.typed, next[0], w.typed, next[0])
	case !w.takesValue:
		w.value = "true"
		return 0, nil
	case len(next) == 0:
		return 0, usage.Errorf("%s needs a value", w.typed)
	case l.isFlag(next[0]):
		return 0, usage.Errorf("%s needs a value, and %s is a flag; if it is the value, write %s=%s",
			w.typed, next[0], w.typed, next[0])
	}
	w.value = next[0]
	return 1, nil
}

// isFlag reports whether a word in place of a value is the next flag, so that the value was forgotten.
func (l *line) isFlag(arg string) bool {
	if !looksLikeFlag(arg) || strings.ContainsAny(arg, " \t\n") {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "--") || findFlag(l.command, name) != nil || foreignFlag(l.command, name) != nil
}

// mayBeEmpty are the flags whose empty text says something.
var mayBeEmpty = []string{"prompt", "system-prompt", "model-name"}

// check refuses a value that the flag cannot have, such as that of a variable that a script has not set.
func (w *word) check(c *cli.Command) error {
	if w.takesValue && w.value == "" && !slices.Contains(mayBeEmpty, w.flag.Names()[0]) {
		return usage.Errorf("%s needs a value", w.typed)
	}
	var err error
	expected := "a whole number"
	switch w.flag.(type) {
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(w.value)
		expected = "true or false"
	case *cli.IntFlag, *cli.Int64Flag:
		_, err = strconv.ParseInt(w.value, 0, 64)
	case *cli.Uint64Flag:
		_, err = strconv.ParseUint(w.value, 0, 64)
		expected = "a whole number, 0 or more"
	case *cli.Float64Flag:
		_, err = strconv.ParseFloat(w.value, 64)
		expected = "a number"
	case *cli.DurationFlag:
		_, err = time.ParseDuration(w.value)
		expected = "a time such as 90s or 10m"
	}
	if err == nil {
		return nil
	}
	return usage.Errorf("%s is %q, expected %s%s", w.typed, w.value, expected, takers(c, w.value))
}

// takers says which flag of the command takes the value, "" if none is known to.
func takers(c *cli.Command, value string) string {
	same := func(v string) bool { return strings.EqualFold(v, value) }
	for _, f := range c.Flags {
		if slices.ContainsFunc(valuesOf(f), same) {
			return fmt.Sprintf("; --%s takes %s", f.Names()[0], value)
		}
	}
	return ""
}

// unknown is the error of a flag that neither the command nor another program has.
func (l *line) unknown(typed, name string) error {
	hint := ""
	var names []string
	for _, f := range l.command.Flags {
		names = append(names, f.Names()...)
	}
	near := nearest(name, names)
	switch {
	case len(name) > 1 && findFlag(l.command, name[:1]) != nil && strings.Trim(name[1:], "0123456789") == "":
		hint = fmt.Sprintf("; write -%s %s", name[:1], name[1:])
	case near != "":
		hint = fmt.Sprintf("; did you mean %s?", dashed(near))
	default:
		if have := commandsWith(l.app.Commands, name); len(have) > 0 {
			hint = ", only of " + strings.Join(have, ", ")
		}
	}
	return usage.Errorf("%s is no flag of %s%s", typed, l.name, hint)
}

// commandsWith lists the commands that have a flag.
func commandsWith(list []*cli.Command, flag string) (names []string) {
	for _, c := range list {
		if findFlag(c, flag) != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// see adds where to read more.
func (l *line) see(err error) error { return usage.Errorf("%w; see phi3conv %s --help", err, l.name) }

// dashed writes a flag with its dashes.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
