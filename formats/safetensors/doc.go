// Package safetensors reads and writes safetensors, the file format of weights
// on the Hugging Face hub.
//
// # The format
//
//	8 bytes   N, little-endian: the length of the header, at most 100,000,000
//	N bytes   the header: a JSON object in UTF-8, then any number of spaces
//	data      of the tensors, up to the end of the file
//
// The header has an entry for each tensor,
//
//	"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
//
// and optionally "__metadata__", an object whose values are strings. The offsets
// are the begin and the end, exclusive, of the tensor's bytes, counted from the
// start of the data. Elements are little-endian, row-major and packed. A scalar
// has the shape []; a dimension may be 0. Limits of this package are 64 dimensions
// of a tensor and 65536 names in a JSON object. The rules, all of which the reader
// enforces:
//
//   - the first byte of the header is "{", and only spaces follow the object;
//   - no name appears twice in any object, and an entry has exactly these fields;
//   - end - begin = product of the shape × size of the dtype, without overflow,
//     and for the types of 4 and 6 bits in whole bytes;
//   - ordered by their offsets the tensors tile the data: they do not overlap,
//     and no byte before, between or after them is left over.
//
// A large model is divided into files that are each complete by themselves. Its
// directory has an index, model.safetensors.index.json, whose "weight_map" gives
// for every tensor the name of its file. [OpenDir] is stricter than the Hugging
// Face loader: a tensor in one of the files that the index omits is refused.
//
// Specification: https://github.com/huggingface/safetensors
//
// # Use
//
// [OpenDir] opens the weights of a model, [Open] a single file. The header is
// read and checked; the data of a [Tensor] is read on demand, as bytes with
// [Tensor.ReadAt] or as numbers with [Tensor.ReadFloat32]. [Write] and [Create]
// produce the same bytes as the reference implementation, except that several
// keys of __metadata__ are sorted, while the reference has them in random order.
package safetensors
