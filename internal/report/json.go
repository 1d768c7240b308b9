package report

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// WriteDocument writes what a command prints with --json: the object v, with the version of its form before the rest,
// as the key "schema". The version grows when a key goes or changes its meaning, not when one is added.
func WriteDocument(w io.Writer, schema int, v any) error {
	var object, whole bytes.Buffer
	if err := WriteJSON(&object, v); err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(object.Bytes(), []byte("{\n"))
	if !ok {
		return fmt.Errorf("%T is no object with keys in JSON", v)
	}
	fmt.Fprintf(&whole, "{\n  \"schema\": %d,\n%s", schema, rest)
	_, err := w.Write(whole.Bytes())
	return err
}

// Result is what a command prints.
type Result interface {
	WriteText(w io.Writer) error // for people
}

// Print writes a result for people, or the first version of its form in JSON.
func Print(w io.Writer, asJSON bool, r Result) error {
	if asJSON {
		return WriteDocument(w, 1, r)
	}
	return r.WriteText(w)
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
