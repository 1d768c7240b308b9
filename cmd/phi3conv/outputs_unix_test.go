//go:build unix

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// program prepares this test's program to act as phi3conv.
func program(t *testing.T, line string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// A symbolic link stays and its target is written.
func TestOutputThroughLink(t *testing.T) {
	model, dir, other := testmodel.Phi3(t), t.TempDir(), t.TempDir()
	link, target := filepath.Join(dir, "link.gguf"), filepath.Join(other, "target.gguf")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, force := range []string{"", " --force"} {
		line := "convert " + model + " --type Q4_0 -o " + link + force
		if _, stderr, code := phi3conv(t, strings.Fields(line)...); code != exitOK {
			t.Fatal(stderr)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("the link is %v, %v", info, err)
		}
		if !bytes.HasPrefix(testmodel.Read(t, target), []byte("GGUF")) {
			t.Error("the target is no GGUF file")
		}
	}
}

// Standard output, a pipe and a device get the bytes of a file, nothing else is printed there, and they stay.
func TestOutputToStreams(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	text, err := filepath.Abs(evalText)
	if err != nil {
		t.Fatal(err)
	}
	tiny := tinyGGUF(t, "Q4_0")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"convert " + model + " --type Q4_0 -o ",
		"calibrate " + model + " --text " + text + " --chunks 1 -c 64 -o ",
		"seal " + model + " --text " + text + " --chunks 1 -c 64 -o ",
		"logits " + model + " --tokens 1,2 -o ",
		"pack " + tiny + " -o ",
		"lint " + tiny + " --fast --markdown ",
	} {
		whole := filepath.Join(dir, "whole"+map[bool]string{true: ".tar"}[strings.HasPrefix(line, "pack")])
		if _, stderr, code := phi3conv(t, strings.Fields(line+whole)...); code != exitOK {
			t.Fatalf("%s: %s", line, stderr)
		}
		want := testmodel.Read(t, whole)
		if err := os.Remove(whole); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"-", "/dev/stdout"} {
			cmd, stdout, stderr := program(t, line+name)
			if err := cmd.Run(); err != nil || !bytes.Equal(stdout.Bytes(), want) {
				t.Errorf("%s%s: %v, %d bytes, expected %d\n%s", line, name, err, stdout.Len(), len(want), stderr)
			}
		}
		cmd, _, stderr := program(t, line+pipe)
		if strings.HasPrefix(line, "pack") {
			continue // the name of a tar file ends in .tar
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := testmodel.Read(t, pipe); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes through a pipe, expected %d", line, len(got), len(want))
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", line, err, stderr)
		}
		if _, stderr, code := phi3conv(t, strings.Fields(line+os.DevNull)...); code != exitOK {
			t.Errorf("%s: exit %d: %s", line, code, stderr)
		}
	}
	info, err := os.Stat(os.DevNull)
	if err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		t.Fatalf("%s is %v, %v", os.DevNull, info, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

// A file that standard output is redirected to is not replaced under the shell's feet.
func TestOutputToRedirection(t *testing.T) {
	model := testmodel.Phi3(t)
	path := filepath.Join(t.TempDir(), "x.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd, _, stderr := program(t, "convert "+model+" --type Q4_0 -o "+path)
	cmd.Stdout = f
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	_ = f.Close()
	if !bytes.Equal(testmodel.Read(t, path), testmodel.Read(t, tinyGGUF(t, "Q4_0"))) {
		t.Error("other bytes than in a file of its own")
	}
}

// What cannot be written where it belongs is written elsewhere, with exit code 4: here /dev/full is full when the
// verification ends.
func TestOutputSavedElsewhere(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	model, temp, dir := testmodel.Phi3(t), t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	page := filepath.Join(dir, "page.html")
	line := "verify " + model + " --base " + model + " --text " + evalText +
		" -c 64 --chunks 1 --junit /dev/full --html " + page
	stdout, stderr, code := phi3conv(t, strings.Fields(line)...)
	message := regexp.MustCompile(`write /dev/full: no space left on device; it was written to (\S+) instead`)
	saved := message.FindStringSubmatch(stderr)
	if code != exitIO || saved == nil || !strings.Contains(stdout, "KLD mean") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if !bytes.Contains(testmodel.Read(t, saved[1]), []byte("<testsuite")) || filepath.Dir(saved[1]) != temp {
		t.Errorf("%s is no report", saved[1])
	}
	if !bytes.Contains(testmodel.Read(t, page), []byte("<html")) {
		t.Error("the page is not there")
	}
}

// SIGTERM is not SIGINT; both leave nothing half-written.
func TestSignals(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: exitInterrupted, syscall.SIGTERM: exitTerminated} {
		cmd, _, stderr := program(t, "calibrate "+model+" --tokens 200000 -o "+filepath.Join(dir, "out.gguf"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := cmd.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		text := stderr.String()
		if cmd.ProcessState.ExitCode() != want || !strings.HasPrefix(text, "phi3conv: interrupted, ") {
			t.Errorf("%v: %s, expected exit code %d: %s", signal, cmd.ProcessState, want, text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp-*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// What a killed program leaves is removed by the next one that writes there, and not by one that runs beside it.
func TestLeftovers(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	temporary := func() []string {
		left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp-*"))
		return left
	}
	first, _, _ := program(t, "seal "+model+" --text "+evalText+" -o "+filepath.Join(dir, "a.seal"))
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if len(temporary()) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // until it has locked the file that it has made
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if len(temporary()) != 1 {
		t.Fatalf("temporary files %q, expected one", temporary())
	}
	other := "logits " + model + " --tokens 1,2 --force -o " + filepath.Join(dir, "b.npy")
	for _, left := range []int{1, 0} { // while the first one lives, and after it was killed
		if _, stderr, code := phi3conv(t, strings.Fields(other)...); code != exitOK {
			t.Fatal(stderr)
		}
		if len(temporary()) != left {
			t.Errorf("temporary files %q, expected %d", temporary(), left)
		}
		_ = first.Process.Kill()
		_ = first.Wait()
	}
}
