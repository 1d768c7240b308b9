// Command phi3conv converts, quantizes, inspects, checks and runs Phi models.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // where the system has no roots, as an image of this program alone

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/bucket"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/tune"
	"github.com/phi3conv/phi3conv/internal/usage"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		var cause error
		if <-signals == syscall.SIGTERM {
			cause = failure.ErrTerminated
		}
		signal.Stop(signals) // a second signal ends the program at once
		cancel(cause)
	}()
	atomicfile.SetStore(bucket.Scheme, bucket.NewStore(ctx))
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run runs the program and returns its exit code. A failure is one line on stderr and, with --json, one object on
// stdout unless the result is there.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp()
	printed := &counter{w: stdout}
	app.Writer, app.ErrWriter = stdout, stderr
	asJSON := cmdline.Given(args, "--json", "-json", "--json=true", "-json=true")
	if asJSON {
		app.Writer = printed
	}
	err := errors.Join(kern.SelectFromEnv(), tune.SetFromEnv())
	if err != nil {
		err = &usage.Error{Err: err}
	} else {
		err = cmdline.Run(ctx, app, args, fetchInputs(ctx, stderr))
	}
	if err == nil {
		return 0
	}
	if text := failure.Message(err); text != "" {
		_, _ = fmt.Fprintf(stderr, "phi3conv: %s\n", text)
	}
	if asJSON && printed.n == 0 {
		_ = failure.WriteJSON(stdout, ctx, err) // the exit code tells, too
	}
	return failure.Of(ctx, err).Code()
}

// startsItself says whether commands may run this program in a process of its own. On Android an app's program may be
// started by the dynamic linker, and does not know its own path then.
const startsItself = runtime.GOOS != "android"

// runHere is a [batch.Exec] in this process.
func runHere(ctx context.Context, args []string, log io.Writer) (exit int, err error) {
	code := run(ctx, append([]string{"phi3conv"}, args...), log, log)
	return code, ctx.Err()
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.w.Write(b)
}

// usagef makes the error of a mistake in the command line.
func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }
