package quantize

import (
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// Result describes an output: as it is planned, or as it was written.
type Result struct {
	Output        string      `json:"output"`
	FileType      string      `json:"file_type"` // "" of a copy whose type is none that is written
	Params        int64       `json:"parameters"`
	Bytes         int64       `json:"bytes"` // of the tensors
	BitsPerWeight float64     `json:"bits_per_weight"`
	FileBytes     int64       `json:"file_bytes"` // of all files
	Files         []File      `json:"files"`
	Tensors       []Tensor    `json:"tensors"`
	Seconds       float64     `json:"seconds,omitempty"` // that writing took; 0 for a plan
	Copied        bool        `json:"copied,omitempty"`  // all is as it was in a file of another format
	Budget        *Allocation `json:"budget,omitempty"`
	SourceBytes   int64       `json:"-"` // that are read
}

// File is a file of an output.
type File struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// Tensor is a tensor of an output.
type Tensor struct {
	Name  string   `json:"name"`
	Shape []uint64 `json:"shape"` // rows, columns; or one length
	From  string   `json:"from"`  // type in the source
	To    string   `json:"to"`
	Bytes int64    `json:"bytes"`
}

// Describe describes the output that Run writes.
func (j *Job) Describe() (*Result, error) {
	p := j.plan
	shards, err := p.Shards(j.out)
	if err != nil {
		return nil, err
	}
	ft, _ := p.Metadata.Uint("general.file_type")
	f, _ := policy.FileTypeByGGUF(ft)
	r := &Result{
		Output:      j.out,
		FileType:    f.String(),
		Params:      p.Params(),
		Bytes:       p.Size(),
		Budget:      j.Budget,
		SourceBytes: p.SourceSize(),
	}
	r.BitsPerWeight = quant.BitsPerWeight(r.Bytes, r.Params)
	for _, s := range shards {
		r.Files = append(r.Files, File{s.Path, s.Size})
		r.FileBytes += s.Size
	}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		r.Tensors = append(r.Tensors, Tensor{t.Name, shape(t.Dims), t.From, t.Type.String(), t.Size()})
	}
	return r, nil
}

// describeCopy describes the copy of a file.
func describeCopy(f *gguf.File, out string, extra []pmap.Extra, took time.Duration) (*Result, error) {
	r := &Result{Output: out, Copied: true, Seconds: took.Seconds(), Tensors: []Tensor{}}
	if n, ok := f.Metadata.Uint("general.file_type"); ok {
		if ft, ok := policy.FileTypeByGGUF(n); ok {
			r.FileType = ft.String()
		}
	}
	for _, t := range f.Tensors {
		r.Params += t.Elems()
		r.Bytes += t.Size()
		r.Tensors = append(r.Tensors, Tensor{t.Name, shape(t.Dims), t.Type.String(), t.Type.String(), t.Size()})
	}
	r.BitsPerWeight = quant.BitsPerWeight(r.Bytes, r.Params)
	size, err := convert.RepackedSize(f, out, extra...)
	if err != nil {
		return nil, err
	}
	r.FileBytes = size
	r.Files = []File{{out, r.FileBytes}}
	return r, nil
}

// shape returns dimensions as rows and columns: GGUF has the columns first.
func shape(dims []uint64) []uint64 {
	shape := slices.Clone(dims)
	slices.Reverse(shape)
	return shape
}
