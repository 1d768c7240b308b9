package libm

import (
	"math"
	"testing"
)

// Results of the C library (glibc 2.36).
func TestNearest(t *testing.T) {
	for _, c := range []struct {
		function   string
		x, y, want float64
	}{
		{"Pow", 2.5, 1.3, 0x1.a53e07b9d09eep+1},
		{"Pow", 10, -2, 0x1.47ae147ae147bp-7},
		{"Pow", 1.1, 10, 0x1.4bffc0c03023ep+1},
		{"Pow", 123.456, 0.789, 0x1.658398ca9d814p+5},
		{"Pow", 0.99, 500, 0x1.ae9a69c93d692p-8},
		{"Pow", 1.7, 31, 0x1.a9137777bfc96p+23},
		{"Pow", 5e-324, 0.5, 0x1.0000000000000p-537},
		{"Pow", 1e+300, 1.02, 0x1.6c8e5ca239078p+1016},
		{"Pow", -1.5, 3, -0x1.b000000000000p+1},
		{"Pow", 2, 1023.5, 0x1.6a09e667f3bcdp+1023},
		{"Pow", 2, -1074, 0x0.0000000000001p-1022},
		{"Pow", 1.0000000001, 10000000000.0, 0x1.5bf0aa93f93c0p+1},
		{"Hypot", 3, 4, 0x1.4000000000000p+2},
		{"Hypot", 1, 1e-10, 0x1.0000000000000p+0},
		{"Hypot", 1e+300, 1e+300, 0x1.0e4d50f99b211p+997},
		{"Hypot", 0.1, 0.2, 0x1.c9f25c5bfeddap-3},
		{"Hypot", 5e-324, 5e-324, 0x0.0000000000001p-1022},
		{"Atan2", 0, -2, 0x1.921fb54442d18p+1},
		{"Atan2", 1, 1, 0x1.921fb54442d18p-1},
		{"Atan2", -1, -2, -0x1.56c6e7397f5aep+1},
		{"Atan2", 1e-300, 1, 0x1.56e1fc2f8f359p-997},
		{"Atan2", 0.5, -0.25, 0x1.0468a8ace4df6p+1},
		{"Atan2", 1, 0, 0x1.921fb54442d18p+0},
		{"Atan2", math.Copysign(0, -1), -1, -0x1.921fb54442d18p+1},
		{"Exp", 1, 0.0, 0x1.5bf0a8b145769p+1},
		{"Exp", -745.1, 0.0, 0x0.0000000000001p-1022},
		{"Exp", 0.1, 0.0, 0x1.1aec7b35a00d4p+0},
		{"Exp", 709.7, 0.0, 0x1.d75ae7a50ee14p+1023},
		{"Exp", -1e-20, 0.0, 0x1.0000000000000p+0},
		{"Log", 2, 0.0, 0x1.62e42fefa39efp-1},
		{"Log", 0.1, 0.0, -0x1.26bb1bbb55515p+1},
		{"Log", 1e+308, 0.0, 0x1.62991d5d62a5ep+9},
		{"Log", 5e-324, 0.0, -0x1.74385446d71c3p+9},
		{"Log", 0.9999999, 0.0, -0x1.ad7f2b1049b9fp-24},
		{"Sin", 1, 0.0, 0x1.aed548f090ceep-1},
		{"Sin", 3.141592653589793, 0.0, 0x1.1a62633145c07p-53},
		{"Sin", 1e+22, 0.0, -0x1.b453ab76bf397p-1},
		{"Sin", -0.5, 0.0, -0x1.eaee8744b05f0p-2},
		{"Sin", 1e+308, 0.0, 0x1.d0472b6b4d936p-2},
		{"Cos", 1, 0.0, 0x1.14a280fb5068cp-1},
		{"Cos", 1.5707963267948966, 0.0, 0x1.1a62633145c07p-54},
		{"Cos", 1e+22, 0.0, 0x1.0be2cef01c8f4p-1},
		{"Cos", 100, 0.0, 0x1.b981dbf665fdfp-1},
		{"Cos", 3e-09, 0.0, 0x1.0000000000000p+0},
	} {
		sin, cos := Sincos(c.x)
		got := map[string]float64{"Pow": Pow(c.x, c.y), "Hypot": Hypot(c.x, c.y), "Atan2": Atan2(c.x, c.y),
			"Exp": Exp(c.x), "Log": Log(c.x), "Sin": sin, "Cos": cos}[c.function]
		if math.Float64bits(got) != math.Float64bits(c.want) {
			t.Errorf("%s(%v, %v) = %v, expected %v", c.function, c.x, c.y, got, c.want)
		}
	}
}

// What is no number, infinite or 0 goes as in package math, and nothing takes long.
func TestSpecial(t *testing.T) {
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, -1, 0.5, -2, 1e308, 5e-324}
	for _, x := range special {
		for _, y := range special {
			for name, pair := range map[string][2]float64{"Pow": {Pow(x, y), math.Pow(x, y)},
				"Atan2": {Atan2(x, y), math.Atan2(x, y)}, "Hypot": {Hypot(x, y), math.Hypot(x, y)},
				"Exp": {Exp(x), math.Exp(x)}} {
				got, want := pair[0], pair[1]
				if math.IsNaN(got) != math.IsNaN(want) || math.Signbit(got) != math.Signbit(want) && got == 0 ||
					math.Abs(got-want) > 1e-14*math.Abs(want) {
					t.Errorf("%s(%v, %v) = %v, package math has %v", name, x, y, got, want)
				}
			}
		}
	}
}
