package quantize

import (
	"slices"

	"github.com/phi3conv/phi3conv/quant/policy"
)

// Result describes an output: as it is planned, or as it was written.
type Result struct {
	Output        string      `json:"output"`
	FileType      string      `json:"file_type"`
	Params        int64       `json:"parameters"`
	Bytes         int64       `json:"tensor_bytes"`
	BitsPerWeight float64     `json:"bits_per_weight"`
	Files         []File      `json:"files"`
	Tensors       []Tensor    `json:"tensors,omitempty"`
	Seconds       float64     `json:"seconds,omitempty"` // that writing took
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
	r.BitsPerWeight = 8 * float64(r.Bytes) / float64(r.Params)
	for _, s := range shards {
		r.Files = append(r.Files, File{s.Path, s.Size})
	}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		shape := slices.Clone(t.Dims)
		slices.Reverse(shape)
		r.Tensors = append(r.Tensors, Tensor{t.Name, shape, t.From, t.Type.String(), t.Size()})
	}
	return r, nil
}
