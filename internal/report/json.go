package report

import (
	"encoding/json"
	"io"
	"math"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// WriteJSON writes v as indented JSON.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Number is a float that JSON has no form for when it is NaN or infinite: null then.
type Number float64

// MarshalJSON writes a number or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !floats.Finite(float64(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// Decimals writes the number with so many digits after the point, "-" for NaN.
func (n Number) Decimals(digits int) Decimal {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	return Decimal(strconv.FormatFloat(float64(n), 'f', digits, 64))
}
