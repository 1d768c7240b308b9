package phi3conv_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/phi3conv/phi3conv"
	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/verify"
)

// Converts, calibrates, quantizes with gptq and verifies the tiny model.
func Example() {
	dir, err := os.MkdirTemp("", "phi3conv-example-")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, model := context.Background(), "testdata/tiny-phi3"
	plain, better, stats := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b.gguf"), filepath.Join(dir, "stats.gguf")

	types := policy.Policy{FileType: policy.MostlyQ4_K_M}
	check(phi3conv.Convert(ctx, model, plain, phi3conv.ConvertOptions{Policy: types}))
	check(phi3conv.Calibrate(ctx, model, stats, phi3conv.CalibrateOptions{
		Texts: []string{"testdata/tiny-phi3-calib.txt"}, Length: 128, Tokens: 1024,
	}))
	gptq, err := calib.MethodByName("gptq")
	check(err)
	recipe := calib.Recipe{FileType: types.FileType, Method: gptq, Solve: solve.DefaultOptions(), AWQ: true}
	check(phi3conv.Quantize(ctx, model, better, recipe, stats, phi3conv.Limits{}))
	reports, err := phi3conv.Verify(ctx, model, []string{plain, better}, phi3conv.VerifyOptions{
		Texts: []string{"testdata/tiny-phi3-eval.txt"}, Context: 128, Windows: 8,
		Thresholds: []verify.Threshold{{Name: "max-kld", Limit: 0.1}},
	})
	check(err)
	fmt.Println(reports.Outcome(), reports[1].Summary.KLD.Value < reports[0].Summary.KLD.Value)
	// Output: pass true
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
