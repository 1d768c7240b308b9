package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// asProgram in the environment makes the test binary the program, for tests of what
// a program of its own does.
const asProgram = "PHI3CONV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// Commands end soon when they are interrupted, with the code for it, and leave no output.
func TestInterrupted(t *testing.T) {
	model := testmodel.Phi3(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := filepath.Join(t.TempDir(), "out")
	names := strings.NewReplacer("MODEL", model, "OUT", out, "TEXT", evalText, "TASK", choiceTask)
	for _, line := range []string{
		"convert MODEL -o OUT.gguf",
		"quantize MODEL OUT.gguf Q4_0",
		"calibrate MODEL -o OUT.gguf --tokens 512",
		"inspect --diff MODEL MODEL",
		"inspect MODEL --tensor output.weight",
		"logits MODEL --tokens 1,2 -o OUT.npy",
		"lint MODEL",
		"run MODEL -p Hello",
		"bench MODEL -p 4 -n 0",
		"pack MODEL -o OUT.tar",
		"verify MODEL --base MODEL --text TEXT -c 64 --chunks 1",
		"seal MODEL --text TEXT -c 64 --chunks 1 -o OUT.seal",
		"eval MODEL --task TASK --shots 0",
	} {
		args := strings.Fields(names.Replace(line))
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"phi3conv"}, args...), &stdout, &stderr)
		want := "phi3conv: interrupted\n"
		isOut := func(a string) bool { return strings.HasPrefix(a, out) }
		if i := slices.IndexFunc(args, isOut); i > 0 && args[0] != "pack" {
			want = "phi3conv: interrupted, " + args[i] + " was not written\n"
		}
		if args[0] == "verify" {
			want = "phi3conv: interrupted; nothing is kept without --report\n"
		}
		if code != exitInterrupted || stderr.String() != want {
			t.Errorf("%s: exit %d, expected %s%s%s", line, code, want, &stdout, &stderr)
		}
	}
	if left, _ := filepath.Glob(out + ".*"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
