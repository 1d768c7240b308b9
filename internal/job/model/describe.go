package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/verify"
)

// Describe names a model by the type that most of its weights have, and pins its weights: by the SHA-256 of the file,
// or of the list of the checksums of all files with weights. It reads all of them, and tells the monitor, which may be
// nil.
func Describe(ctx context.Context, path string, monitor progress.Monitor) (verify.Model, error) {
	m, err := source.Open(path)
	if err != nil {
		return verify.Model{}, err
	}
	defer func() { _ = m.Close() }() // only read from
	d := verify.Model{
		Name: modelcard.BaseName(path), Format: commonType(m), Bytes: m.Bytes(),
		BitsPerWeight: quant.BitsPerWeight(m.Bytes(), m.Params()),
	}
	files, total := weightFiles(m), int64(0)
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			total += info.Size()
		}
	}
	step := progress.Quiet(monitor).Begin("hashing", total, progress.Bytes)
	defer step.End()
	d.SHA256, d.FileBytes, err = hashFiles(ctx, files, step)
	return d, err
}

// Summary says in a few words what a model is: its name, architecture, number of weights and the type of most of them.
func Summary(path string) (string, error) {
	m, err := source.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = m.Close() }() // only read from
	return fmt.Sprintf("%s: %s, %s weights, mostly %s", modelcard.BaseName(path), m.Config.Arch.Name,
		humanize.SIWithDigits(float64(m.Params()), 1, ""), commonType(m)), nil
}

// Facts are what clients of a server may ask about a model.
type Facts struct {
	Arch, Type    string // Type is the one that most weights have
	Params, Bytes int64
}

// ReadFacts reads a model's headers.
func ReadFacts(path string) (Facts, error) {
	m, err := source.Open(path)
	if err != nil {
		return Facts{}, err
	}
	defer func() { _ = m.Close() }() // only read from
	return Facts{m.Config.Arch.Name, commonType(m), m.Params(), m.Bytes()}, nil
}

// commonType returns the type that most weights have, of equally many the first by name.
func commonType(m *source.Model) string {
	weights := map[string]int64{}
	for i := range m.Tensors {
		weights[m.Tensors[i].TypeName()] += m.Tensors[i].Elems()
	}
	common := ""
	for name, n := range weights {
		if most := weights[common]; n > most || n == most && name < common {
			common = name
		}
	}
	return common
}

// weightFiles returns the files that hold tensors, sorted.
func weightFiles(m *source.Model) []string {
	var files []string
	for i := range m.Tensors {
		for _, path := range m.Tensors[i].Paths() {
			if !slices.Contains(files, path) {
				files = append(files, path)
			}
		}
	}
	slices.Sort(files)
	return files
}

// hashFiles returns the SHA-256 of a file or, of several, that of a list as sha256sum prints it, and the
// size of all.
func hashFiles(ctx context.Context, files []string, step progress.Step) (sum string, size int64, err error) {
	var list strings.Builder
	for _, path := range files {
		var n int64
		if sum, n, err = work.HashFile(ctx, path, func(done int64) { step.Set(size + done) }); err != nil {
			return "", 0, err
		}
		size += n
		fmt.Fprintf(&list, "%s  %s\n", sum, filepath.Base(path))
	}
	if len(files) > 1 {
		of := sha256.Sum256([]byte(list.String()))
		sum = hex.EncodeToString(of[:])
	}
	return sum, size, nil
}
