package safetensors

import (
	"errors"
	"fmt"
)

// DType is the type of a tensor's elements.
type DType uint8

// The types of the format, under its names, in the order of the reference
// implementation: by growing alignment.
const (
	BOOL DType = iota
	F4
	F6_E2M3
	F6_E3M2
	U8
	I8
	F8_E5M2
	F8_E4M3
	F8_E8M0
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

// Why a type cannot be used as weights.
var (
	errPacked = errors.New(
		"calibrated 8-bit, 6-bit and 4-bit checkpoints are not supported: their scales are stored apart, in a " +
			"layout of each tool's own; start from the 16-bit checkpoint",
	)
	errInteger = errors.New(
		"integers are not weights; a checkpoint packed by GPTQ, AWQ or bitsandbytes is not supported: start from " +
			"the 16-bit checkpoint",
	)
	errComplex = errors.New("complex numbers are not weights")
)

// dtypes is the table of types.
var dtypes = [...]struct {
	name string
	bits int   // per element
	err  error // why it cannot be used as weights, or nil
}{
	BOOL:        {"BOOL", 8, errInteger},
	F4:          {"F4", 4, errPacked},
	F6_E2M3:     {"F6_E2M3", 6, errPacked},
	F6_E3M2:     {"F6_E3M2", 6, errPacked},
	U8:          {"U8", 8, errInteger},
	I8:          {"I8", 8, errInteger},
	F8_E5M2:     {"F8_E5M2", 8, errPacked},
	F8_E4M3:     {"F8_E4M3", 8, errPacked},
	F8_E8M0:     {"F8_E8M0", 8, errPacked},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 8, errPacked},
	F8_E5M2FNUZ: {"F8_E5M2FNUZ", 8, errPacked},
	I16:         {"I16", 16, errInteger},
	U16:         {"U16", 16, errInteger},
	F16:         {"F16", 16, nil},
	BF16:        {"BF16", 16, nil},
	I32:         {"I32", 32, errInteger},
	U32:         {"U32", 32, errInteger},
	F32:         {"F32", 32, nil},
	C64:         {"C64", 64, errComplex},
	F64:         {"F64", 64, nil},
	I64:         {"I64", 64, errInteger},
	U64:         {"U64", 64, errInteger},
}

// DTypes lists every type, in the order of the constants.
func DTypes() []DType {
	all := make([]DType, len(dtypes))
	for i := range all {
		all[i] = DType(i)
	}
	return all
}

// ParseDType finds a type by its name in a file, such as "BF16".
func ParseDType(name string) (d DType, ok bool) {
	for i := range dtypes {
		if dtypes[i].name == name {
			return DType(i), true
		}
	}
	return 0, false
}

// String returns the name in files, such as "BF16".
func (d DType) String() string {
	if int(d) >= len(dtypes) {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Bits returns the size of an element in bits. For F4 and the F6 types it is
// not a multiple of 8; a tensor as a whole always takes whole bytes. It is 0 for
// a number that is no type.
func (d DType) Bits() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].bits
}

// Usable returns nil for the types that hold plain weights, F16, BF16, F32 and
// F64, and the reason for all others.
func (d DType) Usable() error {
	if int(d) >= len(dtypes) {
		return fmt.Errorf("%s is no type", d)
	}
	if err := dtypes[d].err; err != nil {
		return fmt.Errorf("type %s: %w", d, err)
	}
	return nil
}
