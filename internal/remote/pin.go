package remote

import (
	"context"
	"strings"

	"github.com/phi3conv/phi3conv/internal/pack"
)

// Pin returns the name of what a name leads to now: a branch or tag of the hub becomes its commit, a tag in a registry
// the digest of its artifact. Other names are returned as they are.
func Pin(ctx context.Context, name string, opt Options) (string, error) {
	switch {
	case strings.HasPrefix(name, "hf://"):
		return pinHub(ctx, name, opt)
	case strings.HasPrefix(name, pack.Scheme):
		return pinArtifact(ctx, name, opt)
	}
	return name, nil
}

func pinHub(ctx context.Context, name string, opt Options) (string, error) {
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

func pinArtifact(ctx context.Context, name string, opt Options) (string, error) {
	r, err := pack.OpenRegistry(name, pack.RegistryOptions{UserAgent: opt.UserAgent})
	if err != nil || r.HasDigest() {
		return name, err
	}
	p, err := open(ctx, name, opt)
	if err != nil {
		return "", err
	}
	return p.origin.URL + "@" + p.origin.Revision, nil
}
