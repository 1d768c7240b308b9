package kern

// Multiplication is a kind of multiply-adds.
type Multiplication uint8

// The kinds.
const (
	Int8     Multiplication = iota // codes of weights with activations of 8 bits
	Float32                        // fused
	BFloat16                       // see [Set].ProductBF16
	NumMultiplications
)

// MultiplicationOf returns the kind that products of a format consist of for the most part.
func MultiplicationOf(f Format) Multiplication {
	switch {
	case f > BF16:
		return Int8
	case f == BF16 && best.ProductBF16 != nil:
		return BFloat16
	}
	return Float32
}

// Peak is a loop that does multiply-adds of one kind as fast as a core can: the most that a product can reach. Run is
// nil if there is none.
type Peak struct {
	Run  func(turns int)
	MACs int // multiply-adds of a turn
}
