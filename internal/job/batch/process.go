package batch

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Process is an [Exec]: it runs this program in a process of its own, so that a step that is killed for its memory does
// not end the worker. A worker that is interrupted interrupts it.
func Process(ctx context.Context, args []string, log io.Writer) (exit int, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil { // Windows has none
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// maxMessage is the most that is kept of what a command said last, in bytes.
const maxMessage = 4096

// lastLine returns the last line of a log that says something.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	data := make([]byte, min(maxMessage, info.Size()))
	if _, err := f.ReadAt(data, info.Size()-int64(len(data))); err != nil {
		return ""
	}
	return report.LastLine(string(data))
}
