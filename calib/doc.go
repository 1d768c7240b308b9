// Package calib gathers statistics of the inputs of a model's linear layers from text, for
// quantization: the second moments of each column (llama.cpp's importance matrix) and, where
// asked for, the matrix XᵀX of each layer. Tokens count alike, or as much as the model's
// loss depends on the layer's output there.
//
// Results are the same bits on every CPU, with every number of threads and every bound on memory.
package calib
