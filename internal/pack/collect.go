package pack

import (
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/internal/usage"
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
		in.Files = slices.DeleteFunc(in.Files, func(f File) bool { return sameFile(f.Path, e.Path) })
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
		if sameFile(f.Path, output) {
			return nil, usage.Errorf("output %s is a file of the input", f.Path)
		}
	}
	return in, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
