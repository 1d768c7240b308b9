package quant

// Target is a tensor, by its name in a GGUF file, and the type that it gets.
type Target struct {
	Tensor string
	Type   Type
}
