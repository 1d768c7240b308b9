package cmdline

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// testApp prints what its commands get.
func testApp(out *bytes.Buffer) *cli.App {
	show := func(c *cli.Context) error {
		fmt.Fprintf(out, "%s %q", c.Command.Name, c.Args().Slice())
		for _, f := range c.Command.Flags {
			switch name := f.Names()[0]; {
			case name == "text" && c.IsSet(name):
				fmt.Fprintf(out, " %s=%q", name, c.StringSlice(name))
			case c.IsSet(name):
				fmt.Fprintf(out, " %s=%v", name, c.Value(name))
			}
		}
		if c.Int("ctx-size") < 0 {
			return usage.Errorf("--ctx-size is %d, and no a/--ctx-size or --ctx-sizes", c.Int("ctx-size"))
		}
		return nil
	}
	flags := []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}},
		OneOf([]string{"Q4_0", "F16"}, &cli.StringFlag{Name: "type"}),
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}},
		&cli.Float64Flag{Name: "temp"},
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}},
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"}, Usage: "`FILE`"},
		&cli.BoolFlag{Name: "json"},
	}
	app := &cli.App{Name: "phi3conv", Writer: out, Commands: []*cli.Command{
		{Name: "convert", ArgsUsage: "MODEL", Flags: flags, Action: show},
		{Name: "verify", ArgsUsage: "QUANT", Flags: flags, Action: show, Subcommands: []*cli.Command{
			{Name: "merge", ArgsUsage: "REPORT", Flags: flags, Action: show}}},
	}}
	Prepare(app)
	return app
}

// words splits a line; _ stands for an empty word.
func words(line string) []string {
	list := strings.Fields("phi3conv " + line)
	for i, w := range list {
		if w == "_" {
			list[i] = ""
		}
	}
	return list
}

func TestRun(t *testing.T) {
	for line, want := range map[string]string{
		"convert DIR -o F --type Q4_0":   `convert ["DIR"] output=F type=Q4_0`,
		"convert DIR -json X --type=F16": `convert ["DIR" "X"] type=F16 json=true`,
		"convert A B 2":                  `convert ["A" "B" "2"]`,
		"convert -- DIR -o":              `convert ["DIR" "-o"]`,
		"convert A -o F -- -b -- c":      `convert ["A" "-b" "--" "c"] output=F`,
		"convert -1 DIR":                 `convert ["-1" "DIR"]`,
		"convert DIR -1":                 `convert ["DIR" "-1"]`,
		"convert --json=false -":         `convert ["-"] json=false`,
		"convert X -o -":                 `convert ["X"] output=-`,
		"convert X --temp -1.5 -c 0x10":  `convert ["X"] ctx-size=16 temp=-1.5`,
		"convert X --prompt _":           `convert ["X"] prompt=`,
		"convert X -p=-o -p --":          `convert ["X"] prompt=--`,
		"convert X --outfile Y":          `convert ["X"] output=Y`,
		"convert -m X -o=a=b":            `convert ["X"] output=a=b`,
		"convert -f a --text b":          `convert [] text=["a" "b"]`,
		"verify merge a --json b":        `merge ["a" "b"] json=true`,
		"verify a merge":                 `verify ["a" "merge"]`,
	} {
		var out bytes.Buffer
		app := testApp(&out)
		if err := Run(t.Context(), app, words(line), nil); err != nil || out.String() != want {
			t.Errorf("%s: %s, %v, expected %s", line, &out, err, want)
		}
	}
}

// Mistakes are named as they were typed.
func TestMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"convert X -o":               "-o needs a value; see phi3conv convert --help",
		"convert X --output _":       "--output needs a value; see",
		"convert X -output=":         "-output needs a value; see",
		"convert X -o --type F16":    "-o needs a value, and --type is a flag; if it is the value, write -o=--type;",
		"convert X --type -o F":      "--type needs a value, and -o is a flag",
		"convert X --outfile":        "--outfile needs a value",
		"convert X -c x":             `-c is "x", expected a whole number; see`,
		"convert X -c F16":           `-c is "F16", expected a whole number; --type takes F16; see`,
		"convert X --temp=warm":      `--temp is "warm", expected a number`,
		"convert X --json=perhaps":   `--json is "perhaps", expected true or false`,
		"convert X --json false":     "--json false: write --json=false",
		"convert X -c -5":            "-c is -5, and no a/--ctx-size or --ctx-sizes",
		"verify merge --ctx-size -5": "--ctx-size is -5, and",
		"convert X -c8":              "-c8 is no flag of convert; write -c 8",
		"convert X --tpye F16":       "--tpye is no flag of convert; did you mean --type?",
		"verify merge --none":        "--none is no flag of verify merge; see phi3conv verify merge --help",
		"verify X --kl-divergence":   "--kl-divergence is no flag of verify: --base MODEL",
		"convrt X":                   `no command "convrt"; did you mean convert?; see phi3conv --help`,
		"llama-convert":              `no command "llama-convert"; phi3conv convert does that`,
		"perplexity":                 `no command "perplexity"; phi3conv verify does that`,
		"help nothing":               `no command "nothing"; see`,
		"help verify nothing":        `no command "verify nothing"; see phi3conv verify --help`,
		"-m X":                       "-m: a command comes first",
	} {
		var out bytes.Buffer
		err := Run(t.Context(), testApp(&out), words(line), nil)
		var mistake *usage.Error
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &mistake) {
			t.Errorf("%s: %v, expected %s", line, err, want)
		}
	}
}

func TestOne(t *testing.T) {
	app := testApp(nil)
	for _, c := range []struct{ args, want string }{
		{"a", ""},
		{"", "convert takes one MODEL, got 0 arguments"},
		{"a F16", "convert takes one MODEL, got 2 arguments; --type takes F16"},
		{"a why not", `convert takes one MODEL, got 3 arguments; a prompt goes with --prompt: --prompt "why not"`},
	} {
		got := ""
		if err := One(app.Commands[0], strings.Fields(c.args), "MODEL"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, expected %s", c.args, got, c.want)
		}
	}
}

func TestHelpCommand(t *testing.T) {
	help := func(line string) string {
		var out bytes.Buffer
		if err := Run(t.Context(), testApp(&out), words(line), nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return out.String()
	}
	for _, same := range [][]string{
		{"", "help", "--help", "-h", "help --help"},
		{"convert --help", "help convert", "--help convert", "convert -h", "convert X --type --help"},
		{"verify merge --help", "help verify merge", "verify merge X -h"},
	} {
		for _, line := range same[1:] {
			if got, want := help(line), help(same[0]); got != want || !strings.Contains(got, "USAGE") {
				t.Errorf("%q and %q differ: %s", line, same[0], got)
			}
		}
	}
}

// What a shell asks with the completion scripts.
func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"zsh co":                        "convert\t\n",
		"zsh _":                         "convert\t\nverify\t\nhelp\tprint the help of a command\n",
		"zsh help v":                    "verify\t\n",
		"zsh verify m":                  "merge\t\n:files\n",
		"zsh verify merge _":            ":files\n",
		"zsh convert --ty":              "--type\t\n",
		"zsh convert X --type _":        "Q4_0\t\nF16\t\n",
		"zsh convert X --type q":        "Q4_0\t\n",
		"fish convert X --type=q":       "--type=Q4_0\t\n",
		"bash convert X --type = q":     "Q4_0\n",
		"bash convert X --type =":       "Q4_0\nF16\n",
		"bash convert X --text = a":     ":files\n",
		"powershell convert +":          ":files\n",
		"zsh convert -f _":              ":files\n",
		"zsh convert --prompt _":        "",
		"zsh convert --json _":          ":files\n",
		"zsh convert -- --ty":           ":files\n",
		"zsh convert --temp 1 --no --j": "--json\t\n",
		"zsh -":                         "--help\tprint the commands\n--version\tprint the version\n",
	} {
		var out bytes.Buffer
		if err := Run(t.Context(), testApp(&out), words(completeCommand+" "+line), nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if out.String() != want {
			t.Errorf("%s: %q, expected %q", line, &out, want)
		}
	}
}

func TestGiven(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "convert X --json": true, "convert --json=true X": true, "convert X -- --json": false,
		"convert --prompt=--json": false,
	} {
		if Given(words(line), "--json", "--json=true") != want {
			t.Errorf("%q: expected %v", line, want)
		}
	}
}
