package cmdline

import (
	"bytes"
	"flag"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeCommand is what the completion scripts call: "phi3conv __complete SHELL WORD…" prints what the last word may
// become, each with a tab and a description on a line of its own, and ":files" if it may be the name of a file.
const completeCommand = "__complete"

// complete answers a shell. The last of the words is the one to complete.
func complete(w io.Writer, app *cli.App, shell string, words []string) error {
	if len(words) == 0 {
		return nil
	}
	p := &proposals{shell: shell}
	p.prefix = words[len(words)-1]
	switch shell {
	case "powershell": // which leaves out an empty word, so that its last one begins with +
		p.prefix = strings.TrimPrefix(p.prefix, "+")
	case "bash": // which cuts words at =
		words = joined(words)
		p.prefix = words[len(words)-1]
	}
	p.propose(app, words[:len(words)-1])
	_, err := io.WriteString(w, p.out.String())
	return err
}

// joined puts together what bash has cut: --type, = and Q4 are one word.
func joined(words []string) (list []string) {
	for i, word := range words {
		last := len(list) - 1
		after := i > 0 && words[i-1] == "=" && strings.HasSuffix(list[last], "=")
		if last >= 0 && (word == "=" && strings.HasPrefix(list[last], "-") || after) {
			list[last] += word
		} else {
			list = append(list, word)
		}
	}
	return list
}

// proposals are what a word may become.
type proposals struct {
	shell  string
	prefix string // the word
	keep   string // what is left of the word before what is proposed, such as "--type="
	out    bytes.Buffer
}

// add proposes a word that begins with the prefix.
func (p *proposals) add(word, description string) {
	if len(word) < len(p.prefix) || !strings.EqualFold(word[:len(p.prefix)], p.prefix) {
		return
	}
	p.out.WriteString(p.keep + word)
	if p.shell != "bash" {
		p.out.WriteString("\t" + description)
	}
	p.out.WriteByte('\n')
}

// files proposes the names of files, which the shell knows.
func (p *proposals) files() { p.out.WriteString(":files\n") }

// propose looks at the words before.
func (p *proposals) propose(app *cli.App, before []string) {
	list := app.Commands
	help := len(before) > 0 && before[0] == "help"
	if help {
		before = before[1:]
	}
	var c *cli.Command
	for len(before) > 0 {
		next := commandOf(list, before[0])
		if next == nil {
			break
		}
		c, list, before = next, next.Subcommands, before[1:]
	}
	if len(before) == 0 && !strings.HasPrefix(p.prefix, "-") {
		for _, sub := range list {
			p.add(sub.Name, sub.Usage)
		}
		if c == nil && !help {
			p.add("help", "print the help of a command")
		}
	}
	switch {
	case c != nil && !help:
		p.proposeFor(c, before)
	case c == nil && len(before) == 0 && !help && strings.HasPrefix(p.prefix, "-"):
		p.add("--help", "print the commands")
		p.add("--version", "print the version")
	}
}

// state is what the words before say about the next one.
type state struct {
	arguments []string
	open      cli.Flag // the word is its value
	ended     bool     // by "--": no flags follow
}

func stateAfter(c *cli.Command, words []string) (s state) {
	for _, word := range words {
		switch {
		case s.open != nil:
			s.open = nil
		case word == "--" && !s.ended:
			s.ended = true
		case s.ended || !looksLikeFlag(word):
			s.arguments = append(s.arguments, word)
		default:
			name, _, attached := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if f := findFlag(c, name); f != nil && !attached && takesValue(f) {
				s.open = f
			}
		}
	}
	return s
}

// proposeFor proposes flags, their values and arguments of a command.
func (p *proposals) proposeFor(c *cli.Command, before []string) {
	s := stateAfter(c, before)
	name, value, attached := strings.Cut(p.prefix, "=")
	switch {
	case s.open != nil:
		p.values(s.open)
	case !s.ended && attached && looksLikeFlag(name):
		if f := findFlag(c, strings.TrimLeft(name, "-")); f != nil {
			p.prefix = value
			if p.shell != "bash" {
				p.keep = name + "="
			}
			p.values(f)
		}
	case !s.ended && strings.HasPrefix(p.prefix, "-"):
		for _, f := range c.Flags {
			p.flags(f)
		}
		p.add("--help", "print the help of "+c.Name)
	default:
		p.argument(c, s.arguments)
	}
}

// flags proposes a flag by its long names.
func (p *proposals) flags(f cli.Flag) {
	for _, name := range f.Names() {
		if d, ok := f.(cli.DocGenerationFlag); ok && len(name) > 1 {
			p.add("--"+name, strings.ReplaceAll(d.GetUsage(), "`", ""))
		}
	}
}

// values proposes what the value of a flag may be.
func (p *proposals) values(f cli.Flag) {
	c, ok := f.(*choice)
	if !ok {
		if isFile(f) {
			p.files()
		}
		return
	}
	if c.list {
		if i := strings.LastIndexByte(p.prefix, ',') + 1; i > 0 {
			p.keep, p.prefix = p.keep+p.prefix[:i], p.prefix[i:]
		}
	}
	for _, v := range c.values {
		p.add(v, "")
	}
}

// isFile reports whether a flag's value is the name of a file, which its description says.
func isFile(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return false
	}
	_, after, _ := strings.Cut(d.GetUsage(), "`")
	placeholder, _, _ := strings.Cut(after, "`")
	return strings.Contains(placeholder, "FILE") || strings.Contains(placeholder, "DIR")
}

// argument proposes an argument: what the command's BashComplete prints, or files.
func (p *proposals) argument(c *cli.Command, before []string) {
	if c.BashComplete != nil {
		set := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		if set.Parse(append([]string{"--"}, before...)) != nil {
			return
		}
		var list bytes.Buffer
		c.BashComplete(cli.NewContext(&cli.App{Writer: &list}, set, nil))
		for word := range strings.FieldsSeq(list.String()) {
			p.add(word, "")
		}
	}
	if strings.ContainsAny(c.ArgsUsage, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		p.files()
	}
}

// CompletionScript returns a shell's script that completes the program's command lines, "" if there is none.
func CompletionScript(shell string) string { return strings.TrimSpace(scripts[shell]) }

// Shells are those with a completion script.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

// scripts ask the program itself, see [completeCommand].
var scripts = map[string]string{
	"bash": `
_phi3conv() {
  local IFS=$'\n' line files=
  COMPREPLY=()
  for line in $("${COMP_WORDS[0]}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
    if [[ $line == :files ]]; then files=1; else COMPREPLY+=("$line"); fi
  done
  [[ $files ]] || compopt +o default 2>/dev/null
}
complete -o default -F _phi3conv phi3conv`,
	"zsh": `
#compdef phi3conv
_phi3conv() {
  local line files=0
  local -a list
  for line in "${(@f)$(${words[1]} __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) files=1 ;;
      ?*) list+=("${${line//:/\\:}/$'\t'/:}") ;;
    esac
  done
  (( ${#list} )) && _describe phi3conv list
  (( files )) && { compset -P '--*='; _files }
}
if [[ ${funcstack[1]} == _phi3conv ]]; then _phi3conv "$@"; else compdef _phi3conv phi3conv; fi`,
	"fish": `
function __phi3conv_complete
  set -l words (commandline -opc)
  set -l word (commandline -ct)
  $words[1] __complete fish $words[2..-1] "$word" 2>/dev/null
end
complete -c phi3conv -f -a '(__phi3conv_complete | string match -v :files)'
complete -c phi3conv -n '__phi3conv_complete | string match -q :files' -F`,
	"powershell": `
Register-ArgumentCompleter -Native -CommandName phi3conv -ScriptBlock {
  param($word, $ast, $position)
  $words = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -le $position } |
    Select-Object -Skip 1 | ForEach-Object { "$_" })
  if ($word -ne '') { $words = @($words | Select-Object -SkipLast 1) }
  & $ast.CommandElements[0].Value __complete powershell @words "+$word" 2>$null | ForEach-Object {
    $name, $help = $_ -split [char]9
    if ($name -ne ':files') {
      if (-not $help) { $help = $name }
      [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $help)
    }
  }
}`,
}

// commandOf returns the command called name, nil if there is none.
func commandOf(list []*cli.Command, name string) *cli.Command {
	for _, c := range list {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue reports whether a flag has a value, as a switch has not.
func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
