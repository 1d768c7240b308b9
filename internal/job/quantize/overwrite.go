package quantize

import (
	"os"

	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

// refuseOverwrite stops files of the source from being replaced by what is made from them.
func refuseOverwrite(p *convert.Plan, out string) error {
	shards, err := p.Shards(out)
	if err != nil {
		return err
	}
	sources, err := p.Source.Files()
	if err != nil {
		return err
	}
	for _, s := range shards {
		if err := refuseReplacing(sources, s.Path); err != nil {
			return err
		}
	}
	return nil
}

// refuseReplacing stops a file of sources, or a directory, from being replaced by out.
func refuseReplacing(sources []string, out string) error {
	info, err := os.Stat(out)
	if err != nil {
		return nil // nothing there
	}
	if info.IsDir() {
		return usage.Errorf("output %s exists and is not a regular file but a directory", out)
	}
	if work.IsOneOf(out, sources) {
		return usage.Errorf("output %s is a file of the input", out)
	}
	return nil
}
