// Package failure says how a command ended that did not do what was asked: in which way, with which exit code, and
// the same for programs to read. docs/exit-codes.md is its table.
package failure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Kind is a kind of failure. Each has an exit code.
type Kind string

const (
	None        Kind = ""
	Check       Kind = "check"       // what was checked is not as it should be
	Usage       Kind = "usage"       // what was asked for makes no sense
	Input       Kind = "input"       // a file that was given cannot be used
	IO          Kind = "io"          // disk, network or registry failed
	Interrupted Kind = "interrupted" // by SIGINT, which Ctrl-C sends
	Terminated  Kind = "terminated"  // by SIGTERM
)

// Code returns the exit code: that of shells for signals, 128 and the signal's number.
func (k Kind) Code() int {
	return map[Kind]int{None: 0, Check: 1, Usage: 2, Input: 3, IO: 4, Interrupted: 130, Terminated: 143}[k]
}

// ErrCheck ends a command whose result says that a check failed.
var ErrCheck = errors.New("check failed")

// ErrTerminated is the cause of a context that SIGTERM has cancelled.
var ErrTerminated = fmt.Errorf("terminated: %w", context.Canceled)

// Of returns the kind of the error with which a command ended that had the context.
func Of(ctx context.Context, err error) Kind {
	var mistake *usage.Error
	var unwritten *output.Error
	var saved *atomicfile.Elsewhere
	var path *fs.PathError
	var link *os.LinkError
	var errno syscall.Errno
	switch {
	case err == nil:
		return None
	case errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), ErrTerminated):
		return Terminated
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, ErrCheck), errors.Is(err, pack.ErrRefused), errors.Is(err, fetch.ErrRefused):
		return Check
	case errors.As(err, &mistake):
		return Usage
	case errors.As(err, &saved):
		return IO
	case errors.Is(err, fs.ErrNotExist):
		return Input
	case errors.As(err, &unwritten), errors.As(err, &path), errors.As(err, &link), errors.As(err, &errno),
		errors.Is(err, pack.ErrRegistry), errors.Is(err, fetch.ErrNetwork), errors.Is(err, fetch.ErrAccess):
		return IO
	}
	return Input
}

// Message returns what the error says to a user, "" if the command has said it.
func Message(err error) string {
	if errors.Is(err, ErrCheck) {
		return ""
	}
	if !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	text, _, _ := strings.Cut(err.Error(), ": "+context.Canceled.Error())
	if !strings.HasPrefix(text, "interrupted") { // jobs that can say more do
		return "interrupted"
	}
	return text
}

// failed is the JSON form of an error: see docs/schema/error.json.
type failed struct {
	Kind    Kind   `json:"kind"`
	Code    int    `json:"exit_code"`
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Offset  *int64 `json:"offset,omitempty"` // in the file, in bytes
}

// WriteJSON writes the error for programs.
func WriteJSON(w io.Writer, ctx context.Context, err error) error {
	kind := Of(ctx, err)
	f := failed{Kind: kind, Code: kind.Code(), Message: Message(err)}
	if f.Message == "" {
		f.Message = err.Error()
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		f.File = path.Path
	}
	var refused *formats.Error
	if errors.As(err, &refused) && refused.Path != "" {
		f.File = refused.Path
		if refused.Off >= 0 {
			f.Offset = &refused.Off
		}
	}
	return report.WriteDocument(w, 1, struct {
		Error failed `json:"error"`
	}{f})
}
