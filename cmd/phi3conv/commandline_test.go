package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// dashed writes a flag with its dashes.
func dashed(name string) string { return "--"[:min(2, len(name))] + name }

// Every flag of every command, under each of its names: a value that was forgotten, is empty, or is none, is named
// with the flag as it was typed.
func TestEveryFlag(t *testing.T) {
	mayBeEmpty := []string{"prompt", "system-prompt", "model-name"}
	for _, c := range allCommands(commands()) {
		refused := func(want string, args ...string) {
			t.Helper()
			_, stderr, code := phi3conv(t, append(strings.Fields(c.HelpName), args...)...)
			see := "; see phi3conv " + c.HelpName + " --help\n"
			if code != exitUsage || stderr != "phi3conv: "+want+see {
				t.Errorf("%s %q: exit %d, %s, expected %s", c.HelpName, args, code, stderr, want+see)
			}
		}
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				for _, typed := range []string{dashed(name), "-" + name} {
					if !f.(cli.DocGenerationFlag).TakesValue() {
						refused(typed+` is "perhaps", expected true or false`, "x", typed+"=perhaps")
						refused(typed+" false: write "+typed+"=false", "x", typed, "false")
						continue
					}
					refused(typed+" needs a value", "x", typed)
					refused(typed+" needs a value, and "+typed+" is a flag; if it is the value, write "+typed+"="+typed,
						"x", typed, typed)
					if !slices.Contains(mayBeEmpty, f.Names()[0]) {
						refused(typed+" needs a value", "x", typed, "")
						refused(typed+" needs a value", typed+"=", "x")
					}
					if expected := expectedValue(f); expected != "" {
						refused(typed+` is "many", expected `+expected, "x", typed, "many")
					}
				}
			}
		}
	}
	if _, stderr, code := phi3conv(t, "tokenize", testmodel.Phi3(t), "--prompt", ""); code != exitOK {
		t.Errorf("an empty prompt: exit %d, %s", code, stderr)
	}
}

// expectedValue says what the value of a flag must be, "" if that is the command's matter.
func expectedValue(f cli.Flag) string {
	switch f.(type) {
	case *cli.IntFlag, *cli.Int64Flag:
		return "a whole number"
	case *cli.Uint64Flag:
		return "a whole number, 0 or more"
	case *cli.Float64Flag:
		return "a number"
	case *cli.DurationFlag:
		return "a time such as 90s or 10m"
	}
	return ""
}

// A letter means the same in all commands. Names differ where one word would say too little.
func TestLetters(t *testing.T) {
	letters := map[string][]string{
		"b": {"batch-size"},
		"c": {"ctx-size"},
		"f": {"file", "text"}, // the file to read text from
		"n": {"predict", "n-gen"},
		"d": {"n-depth"},
		"j": {"json-schema"},
		"o": {"output"},
		"p": {"prompt"},
		"r": {"repetitions"},
		"s": {"seed"},
		"t": {"threads"},
	}
	used := map[string]bool{}
	for _, c := range allCommands(commands()) {
		for _, f := range c.Flags {
			for _, name := range f.Names()[1:] {
				if len(name) > 1 {
					continue
				}
				used[name] = true
				if !slices.Contains(letters[name], f.Names()[0]) {
					t.Errorf("%s: -%s is --%s, expected one of %q", c.HelpName, name, f.Names()[0], letters[name])
				}
			}
			// and has its letter where there is one
			for letter, long := range letters {
				if long[0] == f.Names()[0] && !slices.Contains(f.Names(), letter) {
					t.Errorf("%s: --%s is not -%s", c.HelpName, long[0], letter)
				}
			}
		}
	}
	if len(used) != len(letters) {
		t.Errorf("letters that are used: %v", used)
	}
}

func TestHelpOfCommands(t *testing.T) {
	for _, c := range append(allCommands(commands()), &cli.Command{}) {
		words := strings.Fields(c.HelpName)
		want, _, _ := phi3conv(t, append(words, "--help")...)
		got, stderr, code := phi3conv(t, append([]string{"help"}, words...)...)
		if code != exitOK || got != want || stderr != "" || !strings.Contains(got, "USAGE:") {
			t.Errorf("help %s: exit %d, %s%s\nexpected\n%s", c.HelpName, code, got, stderr, want)
		}
		checkHelp(t, c.HelpName, got)
	}
}

// The flags of ours that the table of foreign flags names exist.
func TestForeignFlags(t *testing.T) {
	all := map[string]*cli.Command{}
	for _, c := range allCommands(commands()) {
		all[c.HelpName] = c // batch has a run, too
	}
	ours := regexp.MustCompile(`phi3conv ([a-z]+)|(?:^|[ ($"])--([a-z0-9-]+)`)
	for _, f := range cmdline.ForeignFlags {
		names := strings.Fields(f.Of)
		if f.Of == "" {
			names = []string{"run"} // says nothing that only some commands have
		}
		for _, name := range names {
			c := all[name]
			if c == nil {
				t.Errorf("%q: no command %s", f.Names, name)
				continue
			}
			if f.Say == "" && f.Flag != cmdline.Argument && f.Flag != cmdline.Nothing && !cmdline.Takes(c, f.Flag) {
				t.Errorf("%q: %s has no flag --%s", f.Names, name, f.Flag)
			}
			for _, found := range ours.FindAllStringSubmatch(f.Say, -1) {
				if found[1] != "" {
					if c = all[found[1]]; c == nil {
						t.Fatalf("%q: no command %s", f.Say, found[1])
					}
				} else if found[2] != "help" && found[2] != "local-dir" && !cmdline.Takes(c, found[2]) {
					t.Errorf("%q: %s has no flag --%s", f.Say, c.Name, found[2])
				}
			}
		}
	}
}

// Habits from other programs work, or the message says what to do here.
func TestHabits(t *testing.T) {
	model := testmodel.Phi3(t)
	for line, want := range map[string]string{
		"run -m MODEL -ngl 99":                  "-ngl is no flag of run: models run on the CPU; leave it out",
		"run -m MODEL -cnv":                     "-cnv is no flag of run: without --prompt and --file, run holds",
		"run MODEL Why is the sky blue":         `a prompt goes with --prompt: --prompt "Why is the sky blue"`,
		"run MODEL -p a -n x":                   `-n is "x", expected a whole number`,
		"run MODEL -p a -temp -1":               "-temp",
		"run MODEL -p a -f b":                   "-p and -f exclude each other",
		"tokenize MODEL Hello":                  `--prompt "Hello"`,
		"convert MODEL Q8_0":                    "--type takes Q8_0",
		"convert MODEL out.gguf":                "--output out.gguf",
		"convert MODEL -t Q8_0":                 `-t is "Q8_0", expected a whole number; --type takes Q8_0`,
		"convert MODEL --outfile o --outtype x": `unknown file type "x"`,
		"quantize MODEL Q8_0":                   "OUT is missing",
		"quantize MODEL o.gguf Q8_0 --bpw 4":    "--bpw and the type Q8_0 exclude each other",
		"quantize MODEL o.gguf Q8_0 2 -t 2":     "give -t or the argument THREADS",
		"quantize MODEL o.gguf Q8_0 -o x":       "-o is no flag of quantize: the output is the second argument",
		"convert MODEL --type Q8_0 --size 2MB":  "--size and --type exclude each other",
		"convert MODEL --size 2MB":              "--size needs --output",
		"bench -m MODEL -o xml":                 `-o is "xml", expected md, csv or json`,
		"bench -m MODEL -p x":                   `-p: "x", expected numbers`,
		"verify -m MODEL --hellaswag -f x":      "--hellaswag is no flag of verify: phi3conv eval",
		"calibrate -m MODEL --in-file x":        "--in-file is no flag of calibrate: statistics are not added up",
		"llama-bench -m MODEL":                  "phi3conv bench does that",
		"llama-server -m MODEL":                 "phi3conv serve does that",
		"serve -m MODEL -fa on":                 "-fa is no flag of serve: attention is always computed by parts",
		"serve -m MODEL --temp 0":               "--temp is no flag of serve: each request says that",
	} {
		_, stderr, code := phi3conv(t, strings.Fields(strings.ReplaceAll(line, "MODEL", model))...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s, expected %s", line, code, stderr, want)
		}
	}
	stdout, stderr, code := phi3conv(t, "bench", "-m", model, "-p", "4", "-n", "0", "-r", "1", "-o", "csv")
	if code != exitOK || !strings.Contains(stdout, "n_prompt") {
		t.Errorf("llama-bench's arguments: exit %d\n%s%s", code, stdout, stderr)
	}
}
