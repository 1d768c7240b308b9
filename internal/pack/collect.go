package pack

import (
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Input is what an artifact is made of.
type Input struct {
	Files []File
	Left  []string // files of the model's directory that are not taken
	Bytes int64    // of Files
}

// Collect lists the files of a model, see [ModelFiles], and extra ones. An extra file that is one of the model's
// has the extra one's role. It refuses to take the file output, which the artifact would replace.
func Collect(model string, extra []File, output string) (*Input, error) {
	in := &Input{}
	var err error
	if in.Files, in.Left, err = ModelFiles(model); err != nil {
		return nil, err
	}
	for _, e := range extra {
		in.Files = slices.DeleteFunc(in.Files, func(f File) bool { return work.IsOneOf(e.Path, []string{f.Path}) })
		in.Files = append(in.Files, e)
	}
	for _, f := range in.Files {
		info, err := os.Stat(f.Path)
		if err != nil {
			return nil, err
		}
		in.Bytes += info.Size()
	}
	for _, f := range in.Files {
		if work.IsOneOf(output, []string{f.Path}) {
			return nil, usage.Errorf("output %s is a file of the input", f.Path)
		}
	}
	return in, nil
}
