package libm

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"testing"
)

func TestX(t *testing.T) {
	f, _ := os.Open("/tmp/house/libm.txt")
	sc := bufio.NewScanner(f)
	bad := map[string]int{}
	n := map[string]int{}
	old := map[string]int{}
	for sc.Scan() {
		var name string
		var x, y, w uint64
		fmt.Sscan(sc.Text(), &name, &x, &y, &w)
		a, b, want := math.Float64frombits(x), math.Float64frombits(y), math.Float64frombits(w)
		var got, o float64
		switch name {
		case "pow":
			got = Pow(a, b)
			o = math.Pow(a, b)
		case "sin":
			got, _ = Sincos(a)
			o = math.Sin(a)
		case "cos":
			_, got = Sincos(a)
			o = math.Cos(a)
		case "exp":
			got = Exp(a)
			o = math.Exp(a)
		case "log":
			got = Log(a)
			o = math.Log(a)
		case "hypot":
			got = Hypot(a, b)
			o = math.Hypot(a, b)
		case "atan2":
			got = Atan2(a, b)
			o = math.Atan2(a, b)
		}
		n[name]++
		if math.Float64bits(got) != w && !(got != got && want != want) {
			bad[name]++
			if bad[name] < 4 {
				t.Logf("%s(%v,%v)=%v want %v", name, a, b, got, want)
			}
		}
		if math.Float64bits(o) != w {
			old[name]++
		}
	}
	t.Log(n, bad, old)
}
