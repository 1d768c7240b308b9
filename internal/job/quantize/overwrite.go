package quantize

import (
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/output"
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
		if err := output.NotInput(sources, s.Path); err != nil {
			return err
		}
	}
	return nil
}
