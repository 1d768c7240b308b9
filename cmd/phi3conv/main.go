// Command phi3conv converts, quantizes, inspects, checks and runs Phi models.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // a check failed
	exitUsage       = 2
	exitBadInput    = 3
	exitIO          = 4
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
	exitTerminated  = 143 // 128 + SIGTERM
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	interrupted := exitInterrupted
	go func() {
		if <-signals == syscall.SIGTERM {
			interrupted = exitTerminated
		}
		signal.Stop(signals) // a second signal ends the program at once
		cancel()
	}()
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	if code == exitInterrupted && ctx.Err() != nil {
		code = interrupted
	}
	os.Exit(code)
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp()
	app.Writer, app.ErrWriter = stdout, stderr
	err := kern.SelectFromEnv()
	if err != nil {
		err = &usage.Error{Err: err}
	} else {
		err = app.RunContext(ctx, flagsFirst(args, app.Commands))
	}
	switch {
	case err == nil, errors.Is(err, errCheckFailed):
	case errors.Is(err, context.Canceled):
		text, _, _ := strings.Cut(err.Error(), ": "+context.Canceled.Error())
		if !strings.HasPrefix(text, "interrupted") { // jobs that can say more do
			text = "interrupted"
		}
		_, _ = fmt.Fprintf(app.ErrWriter, "phi3conv: %s\n", text)
	default:
		_, _ = fmt.Fprintf(app.ErrWriter, "phi3conv: %v\n", err)
	}
	return exitCode(err)
}

// errCheckFailed ends a command whose check failed. The command has printed why.
var errCheckFailed = errors.New("check failed")

// usagef makes the error of a mistake in the command line.
func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }

func exitCode(err error) int {
	var mistake *usage.Error
	var unwritten *output.Error
	var saved *atomicfile.Elsewhere
	var path *fs.PathError
	var link *os.LinkError
	var errno syscall.Errno
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errCheckFailed):
		return exitFailed
	case errors.As(err, &mistake):
		return exitUsage
	case errors.As(err, &saved):
		return exitIO
	case errors.Is(err, fs.ErrNotExist):
		return exitBadInput
	case errors.As(err, &unwritten), errors.As(err, &path), errors.As(err, &link), errors.As(err, &errno),
		errors.Is(err, pack.ErrRegistry):
		return exitIO
	}
	return exitBadInput
}
