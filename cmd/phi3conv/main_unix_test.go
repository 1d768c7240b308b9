//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Ctrl-C while a conversation waits for a line ends the program, with the code of programs that were interrupted.
func TestInterruptedProgram(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", testmodel.Phi3(t), "--temp", "0")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	notes, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	if _, err := io.WriteString(in, "/help\n"); err != nil {
		t.Error(err)
	}
	lines := bufio.NewScanner(notes)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "/help ") {
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("%s, expected exit code %d", cmd.ProcessState, exitInterrupted)
	}
}
