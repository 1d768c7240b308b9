// Package runtime runs Phi-3 models on a CPU, from a checkpoint directory or a
// GGUF file, as Hugging Face transformers defines them.
//
//	m, err := runtime.Open(ctx, "phi-3-mini-Q4_K_M.gguf", runtime.Options{})
//	s, err := m.NewSequence(0)
//	logits, err := s.Eval(ctx, tokens)
//
// Weights are interleaved when a model is opened (see [Options.NoRepack]) and
// activations quantized to 8 bits for quantized weights, as llama.cpp does too. With
// [Options.Float32] nothing is quantized but what the file holds, and logits are the
// same bits on every CPU, with every number of threads and split of the tokens.
//
// Besides [Model], which holds all weights, there are [Layers], which runs one block over
// many sequences for calibration, and [Hybrid], which takes some tensors from another model.
package runtime
