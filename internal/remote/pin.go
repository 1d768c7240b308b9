package remote

import (
	"context"
	"strings"
)

// Pin returns the name of what a name leads to now: a branch or tag of the hub becomes its commit. Other names are
// returned as they are.
func Pin(ctx context.Context, name string, opt Options) (string, error) {
	if !strings.HasPrefix(name, "hf://") {
		return name, nil
	}
	n, err := parseHub(name)
	if err != nil || commit.MatchString(n.revision) {
		return name, err
	}
	p, err := open(ctx, name, opt)
	if err != nil {
		return "", err
	}
	pinned := "hf://" + n.String() + "@" + p.origin.Revision
	if n.path != "" {
		pinned += "/" + n.path
	}
	return pinned, nil
}
