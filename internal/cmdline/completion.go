package cmdline

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Shells are those with a completion script.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

// CompletionScript returns a shell's script that completes the program's command lines, "" if there is none.
func CompletionScript(app *cli.App, shell string) (string, error) {
	if shell == "fish" {
		return app.ToFishCompletion()
	}
	return strings.TrimSpace(scripts[shell]), nil
}

// scripts ask the program itself: with [CompletionFlag] it prints the words that may follow. Where it has none, and
// after a flag, the shell completes file names.
var scripts = map[string]string{
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
