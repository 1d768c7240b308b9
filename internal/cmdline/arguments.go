package cmdline

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// One refuses arguments that are not one, which is called what. It says where the second may belong.
func One(c *cli.Command, args []string, what string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return usage.Errorf("%s takes one %s, got 0 arguments", c.Name, what)
	}
	second := args[1]
	hint := takers(c, second)
	switch {
	case hint != "":
	case findFlag(c, "prompt") != nil:
		hint = fmt.Sprintf("; a prompt goes with --prompt: --prompt %q", strings.Join(args[1:], " "))
	case findFlag(c, "output") != nil && filepath.Ext(second) != "":
		hint = "; an output goes with --output: --output " + second
	}
	return usage.Errorf("%s takes one %s, got %d arguments%s", c.Name, what, len(args), hint)
}
