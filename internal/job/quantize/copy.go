package quantize

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

// OtherFormat reports whether in is a GGUF or .pmap file and out, by its name, one of the other of these formats.
func OtherFormat(in, out string) bool {
	info, err := os.Stat(in)
	return err == nil && !info.IsDir() && pmap.Is(in) != convert.IsPMAP(out)
}

// Copy copies a GGUF or .pmap file into the format that the name out says, with all tensors and metadata as they are;
// of split sets one file is made. The path of a seal, which goes into a .pmap file, may be empty. Of the limits only
// the threads matter. The monitor may be nil.
func Copy(ctx context.Context, in, out, seal string, limits Limits, m progress.Monitor) (*Result, error) {
	start := time.Now()
	threads, err := limits.threads()
	if err != nil {
		return nil, err
	}
	f, err := pmap.OpenGGUF(in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	var sources []string
	var size int64
	for _, s := range f.Shards {
		sources = append(sources, s.Path)
		size += s.Size
	}
	if err := output.NotInput(sources, out); err != nil {
		return nil, err
	}
	extra, err := sections(seal, out)
	if err != nil {
		return nil, err
	}
	if err := output.Room(out, size); err != nil {
		return nil, err
	}
	step := progress.Quiet(m).Begin("copying", size, progress.Bytes)
	err = convert.Repack(ctx, f, out, convert.Limits{Threads: threads, Progress: step.Set}, extra...)
	step.End()
	if err != nil {
		return nil, work.Interrupted(err, ", %s was not written", out)
	}
	return describeCopy(f, out, extra, time.Since(start))
}

// sections returns what goes into the .pmap file out besides the model: the seal at path, nothing if path is empty.
func sections(path, out string) ([]pmap.Extra, error) {
	if path == "" {
		return nil, nil
	}
	if !convert.IsPMAP(out) {
		return nil, usage.Errorf("--seal goes into a .pmap file, and the output is %q", out)
	}
	s, err := seal.Open(path)
	if err != nil {
		return nil, err
	}
	for err == nil { // whole, before it goes into a file
		_, err = s.Next()
	}
	if _ = s.Close(); err != io.EOF { // only read from
		return nil, formats.WithPath(err, path)
	}
	data, err := os.ReadFile(path)
	return []pmap.Extra{{Name: pmap.SectionSeal, Data: data}}, err
}
