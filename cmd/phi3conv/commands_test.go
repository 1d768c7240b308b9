package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/urfave/cli/v2"
)

// Every command has what its help needs, and flags that say what they do.
func TestCommands(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCommands(commands()) {
		if c.Usage == "" || c.Action == nil {
			t.Errorf("%s: no usage, or no action", c.Name)
		}
		if c.Description == "" && c.ArgsUsage == "" {
			t.Errorf("%s: neither description nor arguments", c.Name)
		}
		if seen[c.HelpName] {
			t.Errorf("%s: twice", c.HelpName)
		}
		seen[c.HelpName] = true
		checkFlags(t, c)
		stdout, stderr, code := phi3conv(t, append(strings.Fields(c.HelpName), "--help")...)
		if code != exitOK || stderr != "" || !strings.Contains(stdout, c.Usage) {
			t.Errorf("%s --help: exit %d\n%s%s", c.HelpName, code, stdout, stderr)
		}
		checkHelp(t, c.HelpName, stdout)
	}
}

// checkHelp checks that a help fits a terminal and names each default once.
func checkHelp(t *testing.T, name, help string) {
	t.Helper()
	for line := range strings.Lines(help) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > cmdline.HelpWidth {
			t.Errorf("%s --help: a line of %d characters, expected at most %d: %s", name, n, cmdline.HelpWidth, line)
		}
	}
	for _, flag := range strings.Split(help, "\n   --")[1:] {
		if strings.Count(flag, "default") > 1 || strings.Contains(flag, `(default: "`) ||
			strings.Contains(flag, "(default: false)") {
			t.Errorf("%s --help: the default of --%s", name, flag)
		}
	}
}

func checkFlags(t *testing.T, c *cli.Command) {
	t.Helper()
	names := map[string]bool{"help": true, "h": true, "version": true, "v": true}
	for _, f := range c.Flags {
		for _, name := range f.Names() {
			if names[name] {
				t.Errorf("%s: the flag --%s is there twice", c.Name, name)
			}
			names[name] = true
		}
		if d, ok := f.(cli.DocGenerationFlag); !ok || d.GetUsage() == "" {
			t.Errorf("%s: --%s does not say what it does", c.Name, f.Names()[0])
		}
	}
	if !names["json"] && !printsText[c.Name] {
		t.Errorf("%s: no --json", c.Name)
	}
}

// printsText lists the commands without --json.
var printsText = map[string]bool{"demo": true, "completion": true, "serve": true, "batch": true, "emit": true}

// allCommands lists the commands and theirs, with the words that call them as HelpName.
func allCommands(commands []*cli.Command, parents ...string) (all []*cli.Command) {
	for _, c := range commands {
		words := append(parents, c.Name)
		c.HelpName = strings.Join(words, " ")
		all = append(all, c)
		all = append(all, allCommands(c.Subcommands, words...)...)
	}
	return all
}

// The README's table has every command.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if row := regexp.MustCompile("(?m)^\\|.*`" + c.Name + "[` ].*\\|$"); c.Name != "completion" && !row.Match(b) {
			t.Errorf("README.md: no row of the table has the command %s", c.Name)
		}
	}
}

// The examples in descriptions are commands with flags that there are.
func TestExamples(t *testing.T) {
	count := 0
	for _, c := range allCommands(commands()) {
		for _, line := range strings.Split(c.Description, "\n") {
			if example, ok := strings.CutPrefix(line, "   phi3conv "); ok {
				count++
				if err := parseOnly(example); err != nil {
					t.Errorf("%s: example %q: %v", c.Name, example, err)
				}
			}
		}
	}
	if count < 15 {
		t.Errorf("only %d examples", count)
	}
	if err := parseOnly("convert x --no-such-flag"); err == nil {
		t.Error("a flag that is not there was taken")
	}
}

// parseOnly parses a command line and does nothing.
func parseOnly(line string) error {
	for _, shell := range []string{" > ", " >> ", " < ", " | ", " #"} {
		line, _, _ = strings.Cut(line, shell)
	}
	app := newApp()
	for _, c := range allCommands(app.Commands) {
		c.Action = func(*cli.Context) error { return nil }
	}
	return cmdline.Run(context.Background(), app, append([]string{"phi3conv"}, shellWords(line)...), nil)
}

// shellWords splits a line as a shell does where it has no escapes.
func shellWords(line string) (words []string) {
	quote, within := rune(0), false
	for _, r := range line {
		switch {
		case r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
			if !within {
				words, within = append(words, ""), true
			}
		case quote == 0 && r == ' ':
			within = false
		default:
			if !within {
				words, within = append(words, ""), true
			}
			words[len(words)-1] += string(r)
		}
	}
	return words
}

func TestProgram(t *testing.T) {
	if stdout, _, code := phi3conv(t, "--help"); code != exitOK || !strings.Contains(stdout, "convert") {
		t.Errorf("--help: exit %d\n%s", code, stdout)
	}
	if stdout, _, code := phi3conv(t, "--version"); code != exitOK || !strings.Contains(stdout, "phi3conv version ") {
		t.Errorf("--version: exit %d\n%s", code, stdout)
	}
	_, stderr, code := phi3conv(t, "frobnicate")
	if code != exitUsage || !strings.Contains(stderr, `no command "frobnicate"`) {
		t.Errorf("unknown command: exit %d, %s", code, stderr)
	}
	t.Setenv("PHI3CONV_CPU", "mmx")
	if _, stderr, code := phi3conv(t, "--help"); code != exitUsage || !strings.Contains(stderr, "mmx") {
		t.Errorf("PHI3CONV_CPU=mmx: exit %d, %s", code, stderr)
	}
}
