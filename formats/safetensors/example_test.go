package safetensors_test

import (
	"bytes"
	"fmt"
	"log"
	"strings"

	"github.com/phi3conv/phi3conv/formats/safetensors"
)

func ExampleOpenDir() {
	f, err := safetensors.OpenDir("testdata/sharded")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, t := range f.Tensors {
		fmt.Println(t.Name, t.DType, t.Shape, t.Size(), "bytes")
	}
	// Output:
	// b.weight BF16 [2 8] 32 bytes
	// c.weight BF16 [2 8] 32 bytes
	// a.weight BF16 [2 8] 32 bytes
}

func ExampleTensor_ReadFloat32() {
	f, err := safetensors.Open("testdata/all.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	t := f.Tensor("value.bfloat16")
	row := make([]float32, t.Shape[1])
	if err := t.ReadFloat32(row, 1*t.Elems()/2); err != nil { // the second row of two
		log.Fatal(err)
	}
	fmt.Println(row)
	// Output: [65280 5.9843063e-05 3.140625 -0.33203125]
}

func ExampleWrite() {
	var file bytes.Buffer
	err := safetensors.Write(&file, []safetensors.WriteTensor{
		{
			Name: "bias", DType: safetensors.F32, Shape: []uint64{2},
			Data: strings.NewReader("\x00\x00\x80?\x00\x00\x00@"),
		},
		{Name: "ids", DType: safetensors.I64, Shape: []uint64{0}},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", bytes.TrimRight(file.Bytes()[8:file.Len()-8], " "))

	f, err := safetensors.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	bias := make([]float32, 2)
	if err := f.Tensor("bias").ReadFloat32(bias, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bias)
	// Output:
	// {"ids":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}
	// [1 2]
}
