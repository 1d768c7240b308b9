package gguf_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/quant"
)

func ExampleOpen() {
	f, err := gguf.Open("testdata/all.gguf")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()

	arch, _ := f.Metadata.Str("general.architecture")
	fmt.Println("architecture:", arch)
	for _, t := range f.Tensors[:2] {
		fmt.Println(t.Name, t.Type, t.Dims, t.Size(), "bytes")
	}

	t := f.Tensor("blk.0.attn_q.weight")
	row := make([]byte, t.Type.Size(t.Cols()))
	if _, err := t.ReadAt(row, 1*int64(len(row))); err != nil { // row 1
		log.Fatal(err)
	}
	fmt.Printf("%s row 1 begins with %x\n", t.Name, row[:4])
	// Output:
	// architecture: test
	// one F32 [3] 12 bytes
	// norm.weight F32 [5] 20 bytes
	// blk.0.attn_q.weight row 1 begins with eff6fd04
}

func ExampleCreate() {
	dir, err := os.MkdirTemp("", "gguf")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "model.gguf")

	var md gguf.Metadata
	md.Set("general.architecture", "phi3")
	md.Set("phi3.block_count", uint32(1))
	tensors := []gguf.TensorInfo{
		{Name: "output_norm.weight", Type: quant.F32, Dims: []uint64{4}},
		{Name: "output.weight", Type: quant.BF16, Dims: []uint64{4, 2}},
	}
	w, err := gguf.Create(path, &md, tensors, gguf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	for i := range tensors { // in any order, from any goroutine, in parts of any size
		if err := w.WriteTensorAt(i, make([]byte, tensors[i].Size()), 0); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for key, value := range f.Metadata.All() {
		fmt.Println(key, "=", value)
	}
	for _, t := range f.Tensors {
		fmt.Println(t.Name, t.Type, t.Dims, "at", t.Offset)
	}
	// Output:
	// general.architecture = phi3
	// phi3.block_count = 1
	// output_norm.weight F32 [4] at 224
	// output.weight BF16 [4 2] at 256
}

func ExampleLayout() {
	tensors := []gguf.TensorInfo{
		{Name: "token_embd.weight", Type: quant.Q4_K, Dims: []uint64{3072, 32064}},
		{Name: "output_norm.weight", Type: quant.F32, Dims: []uint64{3072}},
		{Name: "output.weight", Type: quant.Q6_K, Dims: []uint64{3072, 32064}},
	}
	shards, err := gguf.Layout("phi.gguf", nil, tensors, gguf.Options{SplitMaxSize: 64_000_000})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range shards {
		fmt.Println(s.Path, s.Count, "tensors,", s.Size, "bytes")
	}
	// Output:
	// phi-00001-of-00002.gguf 2 tensors, 55419104 bytes
	// phi-00002-of-00002.gguf 1 tensors, 80801440 bytes
}
