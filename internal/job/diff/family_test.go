package diff

import (
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Tensors that a checkpoint holds otherwise than a GGUF file are compared too: rows in another order, experts apart.
func TestCompareFamily(t *testing.T) {
	for model, tensors := range map[string]int{"tiny-phi2": 33, "tiny-phi3small": 39, "tiny-phimoe": 37} {
		dir := testmodel.Copy(t, model)
		d := compare(t, dir, convertTo(t, dir, "F32"))
		if len(d.Tensors) != tensors || !d.Overall.Equal() || len(d.TensorsA)+len(d.TensorsB)+len(d.Unlike) != 0 {
			t.Errorf("%s: %d tensors, SQNR %g, only in one: %q, %q, not compared: %+v", model, len(d.Tensors),
				d.Overall.SQNR, d.TensorsA, d.TensorsB, d.Unlike)
		}
		if len(d.Keys)+len(d.KeysA) != 0 {
			t.Errorf("%s: keys %+v, %+v", model, d.Keys, d.KeysA)
		}
	}
}
