package failure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/usage"
)

func TestOf(t *testing.T) {
	mistake := usage.Errorf("no such flag")
	for _, c := range []struct {
		err  error
		kind Kind
		code int
	}{
		{nil, None, 0},
		{ErrCheck, Check, 1},
		{fmt.Errorf("%w: a digest", pack.ErrRefused), Check, 1},
		{mistake, Usage, 2},
		{fmt.Errorf("reading: %w", mistake), Usage, 2},
		{formats.Errorf(8, "no magic"), Input, 3},
		{errors.New("anything else"), Input, 3},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, Input, 3},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, IO, 4},
		{&os.LinkError{Op: "rename", Err: syscall.EACCES}, IO, 4},
		{fmt.Errorf("%w: no answer", pack.ErrRegistry), IO, 4},
		{context.Canceled, Interrupted, 130},
		{fmt.Errorf("%w: %w", pack.ErrRegistry, context.Canceled), Interrupted, 130},
	} {
		if got := Of(t.Context(), c.err); got != c.kind || got.Code() != c.code {
			t.Errorf("%v: %s, %d, expected %s, %d", c.err, got, got.Code(), c.kind, c.code)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrTerminated)
	if got := Of(ctx, ctx.Err()); got != Terminated || got.Code() != 143 {
		t.Errorf("terminated: %s, %d", got, got.Code())
	}
}

func TestMessage(t *testing.T) {
	for want, err := range map[string]error{
		"":                                ErrCheck,
		"a.gguf: offset 8: no magic":      formats.FileErrorf("a.gguf", 8, "no magic"),
		"interrupted":                     fmt.Errorf("block 3: %w", context.Canceled),
		"interrupted; a.work has block 3": fmt.Errorf("interrupted; a.work has block 3: %w", context.Canceled),
	} {
		if got := Message(err); got != want {
			t.Errorf("%v: %q, expected %q", err, got, want)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	for want, err := range map[string]error{
		`"kind": "input",
    "exit_code": 3,
    "message": "block: a.gguf: offset 0: no magic",
    "file": "a.gguf",
    "offset": 0`: fmt.Errorf("block: %w", formats.FileErrorf("a.gguf", 0, "no magic")),
		`"kind": "io",
    "exit_code": 4,
    "message": "write x: no space left on device",
    "file": "x"`: &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC},
		`"kind": "check",
    "exit_code": 1,
    "message": "check failed"`: ErrCheck,
	} {
		var b bytes.Buffer
		if err := WriteJSON(&b, t.Context(), err); err != nil {
			t.Fatal(err)
		}
		want = "{\n  \"schema\": 1,\n  \"error\": {\n    " + want + "\n  }\n}\n"
		if b.String() != want {
			t.Errorf("%v: %s, expected %s", err, &b, want)
		}
	}
}
