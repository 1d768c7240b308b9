package verify

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// damagedPMAP is the Q8_0 file as a .pmap file with one bit of a weight flipped, and the intact file.
func damagedPMAP(t *testing.T) (bad, good string) {
	t.Helper()
	f, err := pmap.OpenGGUF(models.q8)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	good = filepath.Join(t.TempDir(), "good.pmap")
	if err := convert.Repack(t.Context(), f, good, convert.Limits{Threads: 2}); err != nil {
		t.Fatal(err)
	}
	data := testmodel.Read(t, good)
	data[len(data)/2] ^= 1
	return testmodel.Write(t, filepath.Join(t.TempDir(), "bad.pmap"), data), good
}

// A .pmap file with a flipped bit is refused before anything is evaluated, as model, as original and with a seal;
// unless that is turned off.
func TestChecksPMAP(t *testing.T) {
	bad, good := damagedPMAP(t)
	seal, _ := sealed(t, SealOptions{Model: tiny, Windows: Windows{Context: 64, Max: 2}})
	run := func(base, quant string, noCheck bool) error {
		o := eightWindows(quant)
		o.Base, o.NoCheck = base, noCheck
		_, err := Run(t.Context(), o)
		return err
	}
	runSealed := func(quant string, noCheck bool) error {
		_, err := RunSealed(t.Context(), SealedOptions{Seal: seal, Quant: quant, NoCheck: noCheck})
		return err
	}
	for what, err := range map[string]error{
		"quantized": run(tiny, bad, false), "original": run(bad, good, false), "sealed": runSealed(bad, false),
	} {
		if !errors.Is(err, pmap.ErrDamaged) {
			t.Errorf("%s: error %v, expected damage", what, err)
		}
	}
	for what, err := range map[string]error{
		"intact": run(tiny, good, false), "intact, sealed": runSealed(good, false),
		"unchecked": run(tiny, bad, true), "unchecked, sealed": runSealed(bad, true),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
