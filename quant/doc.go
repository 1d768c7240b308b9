// Package quant encodes and decodes the tensor types of ggml: the plain float
// types, the 32-element blocks Q4_0 … Q8_0 and IQ4_NL, and the 256-element
// super-blocks Q2_K … Q6_K and IQ4_XS.
//
// A block holds small integer codes and the scale, or the scale and the minimum,
// that turn them back into weights. Codes are cheap to choose once the scale is
// known; the encoders search for the scale. Each block type is one file, which
// opens with its byte layout, and one line of the table in quant.go.
//
// The encoders follow the search rules of ggml's reference encoders, with and
// without importance weights, so that files are as good as llama.cpp's own; they
// are computed by the kernels of internal/kern, whose results do not depend on
// the CPU. Package quant/policy holds llama.cpp's rules for which tensor gets which type.
package quant
