// Package linear multiplies rows of activations with the matrices of a model, on several threads. It owns how both lie
// in memory: [Matrix] (panels of 16 rows of weights, read from a file or used where that is mapped), [Rows] (padded
// float32) and [Input] (rows as a kernel wants them, in int8 for quantized weights).
//
// The arithmetic is package kern's; this package calls its kernels for parts of a product. What the matrices are for,
// and in what order they are used, is up to package runtime.
package linear
