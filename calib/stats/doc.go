// Package stats holds statistics of the inputs of a model's linear layers: the second moments of each column
// (llama.cpp's importance matrix), weights of tokens by the gradients of the model's loss, the files that hold them,
// and the sums that they come from.
package stats
