// Package gguf reads and writes GGUF, the file format of llama.cpp and other
// runtimes built on ggml.
//
// # The format
//
// All numbers are little-endian. A file of version 2 or 3 is
//
//	4 bytes   magic "GGUF"
//	uint32    version
//	uint64    number of tensors
//	uint64    number of keys
//	keys      each: string key, uint32 type, value
//	tensors   each: string name, uint32 number of dimensions (at most 4),
//	          uint64 dimensions[], uint32 ggml type, uint64 offset
//	zeros     up to a multiple of the alignment
//	data      of each tensor, at its offset from here
//
// A string is a uint64 length in bytes and UTF-8 without a terminator. Keys are
// unique and have at most 65535 bytes, names of tensors at most 64; a zero byte in
// either is refused.
//
// Value types are 0 uint8, 1 int8, 2 uint16, 3 int16, 4 uint32, 5 int32,
// 6 float32, 7 bool (a byte, 0 or 1), 8 string, 9 array, 10 uint64, 11 int64,
// 12 float64. An array is the uint32 type of its elements, their uint64 number,
// and the elements.
//
// Dimensions come with the fastest varying axis first, the reverse of PyTorch's
// shape. The first is the length of a row, a whole number of the type's blocks,
// see package quant. Offsets are multiples of the alignment,
// which is the uint32 key general.alignment, or 32 without it. The data of a
// tensor is its rows, followed by zeros up to the next multiple.
//
// A model may be split into files named X-00001-of-00003.gguf and so on. Each has
// the keys split.no (uint16, from 0), split.count (uint16) and
// split.tensors.count (int32, of all files); all other keys are in the first.
//
// Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// # Use
//
// [Open] reads and checks the header; the data of a [Tensor] is read on demand.
// [Create] lays a file out at once, so that the data can be written in any order
// and in parallel; nothing has its final name before [Writer.Close].
//
// The reader knows the tensor types of package quant; a file with a tensor of
// any other type is refused as a whole, with [ErrUnsupported].
//
// The reader trusts nothing: a count is compared with the bytes that are left
// before memory is set aside for it, and what comes before the data is limited
// to 256 MiB, 65536 tensors and 65536 keys. It is stricter than the specification
// about tensors without elements, which it refuses because ggml divides by the
// dimensions. It is more lenient about gaps between tensors and bytes after the
// last one, and about strings that are not UTF-8, which the writer refuses.
package gguf
