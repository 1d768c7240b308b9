package main

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// failures has command lines that fail in each way, of every command. In each, words that outputsDir makes are files.
// What a command has no way for is "-".
type failures struct {
	right     string // succeeds
	usage     string // beside an unknown flag, and no arguments where some are needed
	missing   string // a file that is not there
	damaged   string // a file that is cut off or changed
	wrong     string // a file of another kind
	unwritten string // an output that cannot be written
	check     string // a check that fails
}

// everyFailure has an entry for each command.
var everyFailure = map[string]failures{
	"convert": {
		"convert DIR -o new.gguf --type Q8_0", "convert DIR -o new.gguf --type Q9", "convert none -o new.gguf",
		"convert cut.gguf -o new.gguf", "convert text -o new.gguf", "convert DIR -o text/new.gguf", "-",
	},
	"quantize": {
		"quantize DIR new.gguf Q4_0", "quantize DIR new.gguf MXFP4 --method gptq --stats stats.gguf",
		"quantize none new.gguf Q4_0",
		"quantize cut.gguf new.gguf Q4_0", "quantize DIR new.gguf Q4_0 --stats model.gguf",
		"quantize DIR text/new.gguf Q4_0", "-",
	},
	"reproduce": {
		"reproduce made.gguf --model DIR", "reproduce made.gguf", "reproduce none --model DIR",
		"reproduce cut.gguf --model DIR", "reproduce text --model DIR",
		"reproduce made.gguf --model DIR -o text/new.gguf", "reproduce changed.gguf --model DIR",
	},
	"calibrate": {
		"calibrate DIR --text text --chunks 1 -c 64 -o new.stats.gguf", "calibrate DIR",
		"calibrate DIR --text none -o new.stats.gguf", "calibrate cut.gguf --text text -o new.stats.gguf",
		"calibrate text --text text -o new.stats.gguf", "calibrate DIR --text text -o text/new.gguf", "-",
	},
	"calibrate own-text": {
		"calibrate own-text DIR --tokens 8 -c 8 -o new.json", "calibrate own-text DIR -o new.json --text text",
		"calibrate own-text none -o new.json", "calibrate own-text cut.gguf -o new.json",
		"calibrate own-text text -o new.json",
		"calibrate own-text DIR -o text/new", "-",
	},
	"calibrate merge": {
		"calibrate merge whole.shard -o new.stats.gguf", "calibrate merge whole.shard",
		"calibrate merge none -o new.stats.gguf", "calibrate merge cut.shard -o new.stats.gguf",
		"calibrate merge text -o new.stats.gguf", "calibrate merge whole.shard -o text/new.gguf", "-",
	},
	"inspect": {
		"inspect model.gguf", "inspect --diff DIR", "inspect none", "inspect cut.gguf", "inspect text", "-",
		"inspect --check changed.pmap",
	},
	"lint": {
		"lint DIR", "lint DIR model.gguf", "lint none", "-", "lint text", "lint DIR --junit text/new", "lint cut.gguf",
	},
	"logits": {
		"logits DIR --tokens 1,2", "logits DIR --tokens x", "logits none --tokens 1", "logits cut.gguf --tokens 1",
		"logits text --tokens 1", "logits DIR --tokens 1 -o text/new.npy", "-",
	},
	"seal": {
		"seal DIR --text text -c 64 --chunks 1 -o new.seal", "seal DIR --text text -o new.seal --top-k 1",
		"seal DIR --text none -o new.seal", "seal cut.gguf --text text -o new.seal",
		"seal text --text text -o new.seal",
		"seal DIR --text text -o text/new.seal", "-",
	},
	"verify": {
		"verify model.gguf --base DIR --text text -c 64 --chunks 1", "verify model.gguf --base DIR",
		"verify none --base DIR --text text", "verify cut.gguf --base DIR --text text",
		"verify text --base DIR --text text", "verify model.gguf --base DIR --text text --html text/new",
		"verify model.gguf --base DIR --text text -c 64 --chunks 1 --max-kld 1e-9",
	},
	"verify merge": {
		"verify merge whole.json", "verify merge whole.json --worst -1", "verify merge none", "verify merge cut.json",
		"verify merge DIR/config.json", "verify merge whole.json --html text/new",
		"verify merge whole.json --max-kld 1e-9",
	},
	"eval": {
		"eval DIR --task task --shots 0 --limit 2", "eval DIR", "eval DIR --task none", "eval cut.gguf --task task",
		"eval DIR --task DIR/config.json", "eval DIR --task task --markdown text/new",
		"eval model.gguf --base DIR --task task --shots 0 --limit 2 --max-flips 1e-9",
	},
	"tokenize": {
		"tokenize DIR -p a", "tokenize DIR -p a -f b", "tokenize none -p a", "tokenize cut.gguf -p a",
		"tokenize text -p a", "-", "-",
	},
	"detokenize": {
		"detokenize DIR 1", "detokenize DIR x", "detokenize none 1", "detokenize cut.gguf 1", "detokenize text 1", "-",
		"-",
	},
	"run": {
		"run DIR -p a -n 1", "run DIR -p a --temp -1", "run none -p a", "run cut.gguf -p a", "run text -p a", "-", "-",
	},
	"serve": {
		"-", "serve", "serve none --port 0", "serve cut.gguf --port 0", "serve text --port 0", "-", "-",
	},
	"bench": {
		"bench DIR -p 4 -n 0 -r 1", "bench DIR -p x", "bench none", "bench cut.gguf -p 4 -n 0", "bench text -p 4 -n 0",
		"-", "-",
	},
	"batch": {"-", "batch", "-", "-", "-", "-", "-"},
	"batch plan": {
		"batch plan jobs.yaml", "batch plan", "batch plan none", "batch plan cut.gguf", "batch plan text", "-", "-",
	},
	"batch status": {
		"batch status jobs.yaml", "batch status", "batch status none", "batch status cut.gguf", "batch status text",
		"-", "-",
	},
	"batch run": { // TestBatch does the rest
		"-", "batch run jobs.yaml --attempts 0", "batch run none", "batch run cut.gguf", "batch run text", "-", "-",
	},
	"batch report": {
		"batch report jobs.yaml", "batch report", "batch report none", "batch report cut.gguf",
		"batch report jobs.yaml --against DIR/config.json", "batch report jobs.yaml --html text/new", "-",
	},
	"batch emit": {
		"batch emit slurm jobs.yaml", "batch emit kubernetes jobs.yaml", "batch emit slurm none",
		"batch emit slurm cut.gguf", "batch emit slurm text", "-", "-",
	},
	"pack": {
		"pack DIR -o new.tar", "pack DIR", "pack none -o new.tar", "-", "pack text -o new.tar",
		"pack DIR -o text/new.tar", "-",
	},
	"unpack": {
		"unpack packed.tar -o new", "unpack packed.tar", "unpack none -o new", "unpack cut.tar -o new",
		"unpack text -o new", "unpack packed.tar -o text/new", "unpack changed.tar -o new",
	},
	"push": {
		"-", "push packed.tar", "push none oci://127.0.0.1:1/a:b", "push cut.tar oci://127.0.0.1:1/a:b",
		"push text oci://127.0.0.1:1/a:b", "push packed.tar oci://127.0.0.1:1/a:b", "-",
	},
	"pull": {
		"-", "pull packed.tar -o new", "pull oci://127.0.0.1:1/a:b -o new --verify-key none", "-", "-",
		"pull oci://127.0.0.1:1/a:b -o new", "-",
	},
	"tune":       {"tune", "tune --time 2h", "tune none", "tune cut.gguf", "tune text", "-", "-"},
	"demo":       {"-", "demo --model gpt2", "-", "-", "-", "demo --dir text", "-"},
	"version":    {"version", "version x", "-", "-", "-", "-", "-"},
	"completion": {"completion bash", "completion tcsh", "-", "-", "-", "-", "-"},
}

// atOnce are the commands that end before anyone could interrupt them.
var atOnce = []string{
	"inspect", "tokenize", "tune", "detokenize", "verify merge", "batch emit", "version", "completion",
}

// failuresDir makes what the lines of everyFailure name.
func failuresDir(t *testing.T) {
	t.Helper()
	outputsDir(t)
	for _, line := range []string{
		"convert model.gguf -o whole.pmap",
		"quantize DIR made.gguf Q4_0 --method rtn",
		"verify model.gguf --base DIR --text text -c 64 --chunks 1 --shard 1/1 --report whole.json",
		"calibrate DIR --text text -c 64 --chunks 1 --shard 1/1 -o whole.shard",
	} {
		if _, stderr, code := phi3conv(t, strings.Fields(line)...); code != exitOK {
			t.Fatalf("%s: %s", line, stderr)
		}
	}
	testmodel.Write(t, "jobs.yaml", []byte("batch: 1\nstore: store\nmodels: [{name: a, path: DIR}]\ntypes: [Q4_0]\n"))
	for name, from := range map[string]string{
		"cut.gguf": "model.gguf", "cut.tar": "packed.tar", "cut.json": "whole.json",
		"cut.shard": "whole.shard",
	} {
		data := testmodel.Read(t, from)
		testmodel.Write(t, name, data[:len(data)/2])
	}
	for name, from := range map[string]string{
		"changed.gguf": "made.gguf", "changed.pmap": "whole.pmap", "changed.tar": "packed.tar",
	} {
		data := testmodel.Read(t, from)
		data[len(data)/2] ^= 1
		testmodel.Write(t, name, data)
	}
}

// Every command fails in the same ways: with the exit code of the kind, in one line on standard error, and with --json
// in one object on standard output.
func TestFailures(t *testing.T) {
	failuresDir(t)
	for _, c := range allCommands(commands()) {
		f, ok := everyFailure[c.HelpName]
		if !ok {
			t.Errorf("%s: no failures", c.HelpName)
			continue
		}
		checkFailure(t, c.HelpName+" --no-such-flag", failure.Usage)
		for line, kind := range map[string]failure.Kind{
			f.usage: failure.Usage, f.missing: failure.Input, f.damaged: failure.Input, f.wrong: failure.Input,
			f.unwritten: failure.IO, f.check: failure.Check,
		} {
			checkFailure(t, line, kind)
		}
		if f.right == "-" {
			continue
		}
		checkUnprinted(t, f.right)
		if !slices.Contains(atOnce, c.HelpName) {
			checkStopped(t, f.right)
		}
	}
}

// checkFailure runs a line, alone and with --json.
func checkFailure(t *testing.T, line string, kind failure.Kind) {
	t.Helper()
	if line == "-" {
		return
	}
	args := strings.Fields(line)
	stdout, stderr, code := phi3conv(t, args...)
	if code != kind.Code() {
		t.Errorf("%s: exit %d, expected %d\n%s%s", line, code, kind.Code(), stdout, stderr)
		return
	}
	if kind != failure.Check {
		checkMessage(t, line, stderr)
		if stdout != "" {
			t.Errorf("%s: printed %s", line, stdout)
		}
	}
	if documents[args[0]] == "" {
		return
	}
	stdout, stderr, code = phi3conv(t, append(slices.Clip(args), "--json")...) // which checks the object
	if code != kind.Code() || kind != failure.Check && !strings.Contains(stdout, `"kind": "`+string(kind)+`"`) {
		t.Errorf("%s --json: exit %d, expected %d\n%s%s", line, code, kind.Code(), stdout, stderr)
	}
}

// checkMessage checks that the last line is the one that says what went wrong, and that it is for people.
func checkMessage(t *testing.T, line, stderr string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "phi3conv: ") || strings.Contains(stderr, "context canceled") ||
		strings.Contains(stderr, "exit status") {
		t.Errorf("%s: says %s", line, stderr)
	}
}

// full is standard output without space.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

// checkUnprinted runs a line that succeeds, but for its output.
func checkUnprinted(t *testing.T, line string) {
	t.Helper()
	for _, json := range []string{"", " --json"} {
		args := strings.Fields(line + json)
		if json != "" && documents[args[0]] == "" {
			continue
		}
		t.Setenv("TMPDIR", t.TempDir()) // where results go that cannot be printed
		var stderr bytes.Buffer
		code := run(context.Background(), append([]string{"phi3conv"}, args...), full{}, &stderr)
		if code != exitIO {
			t.Errorf("%s to a full disk: exit %d, expected %d\n%s", line+json, code, exitIO, &stderr)
		}
	}
}

// checkStopped runs a line that succeeds, but for Ctrl-C and SIGTERM.
func checkStopped(t *testing.T, line string) {
	t.Helper()
	for cause, kind := range map[error]failure.Kind{
		context.Canceled: failure.Interrupted, failure.ErrTerminated: failure.Terminated,
	} {
		for _, flag := range []string{"", " --json"} {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			var stdout, stderr bytes.Buffer
			args := strings.Fields(line + flag)
			code := run(ctx, append([]string{"phi3conv"}, args...), &stdout, &stderr)
			if code != kind.Code() {
				t.Errorf("%s: exit %d, expected %d\n%s%s", line+flag, code, kind.Code(), &stdout, &stderr)
				continue
			}
			checkMessage(t, line+flag, stderr.String())
			if flag != "" {
				checkDocument(t, args, stdout.String(), code)
			}
		}
	}
}
