package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
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
		BashComplete: func(c *cli.Context) {
			_, _ = fmt.Fprintln(c.App.Writer, strings.Join([]string{"bash", "zsh", "fish", "powershell"}, "\n"))
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("completion takes the name of one shell: bash, zsh, fish or powershell")
			}
			script := completionScripts[c.Args().First()]
			if c.Args().First() == "fish" {
				var err error
				if script, err = c.App.ToFishCompletion(); err != nil {
					return err
				}
			}
			if script == "" {
				return usagef("no completion for shell %q; there is bash, zsh, fish and powershell", c.Args().First())
			}
			_, err := fmt.Fprintln(c.App.Writer, strings.TrimSpace(script))
			return err
		},
	}
}

// completionScripts ask the program itself: with --generate-bash-completion it
// prints the words that may follow. Where it has none, and after a flag, the
// shell completes file names.
var completionScripts = map[string]string{
	"bash": `
_phi3conv() {
  local cur=${COMP_WORDS[COMP_CWORD]} words
  if [[ $cur == -* ]]; then
    words=$("${COMP_WORDS[@]:0:COMP_CWORD}" "$cur" --generate-bash-completion 2>/dev/null)
  elif [[ ${COMP_WORDS[COMP_CWORD-1]} != -* ]]; then
    words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _phi3conv phi3conv`,
	"zsh": `
#compdef phi3conv
_phi3conv() {
  local cur=${words[CURRENT]} list
  if [[ $cur == -* ]]; then
    list=("${(@f)$(${words[1,CURRENT-1]} $cur --generate-bash-completion 2>/dev/null)}")
  elif [[ ${words[CURRENT-1]} != -* ]]; then
    list=("${(@f)$(${words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
  fi
  compadd -a list
  _files
}
compdef _phi3conv phi3conv`,
	"powershell": `
Register-ArgumentCompleter -Native -CommandName phi3conv -ScriptBlock {
  param($word, $ast, $position)
  $line = ($ast.ToString() -replace [regex]::Escape($word) + '$', '') + ' --generate-bash-completion'
  Invoke-Expression $line 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}`,
}
