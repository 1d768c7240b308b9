package progress

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal of 60 columns.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// A terminal gets bars of its width, unless it is a dumb one or a CI system's.
func TestTerminal(t *testing.T) {
	master, slave := openTerminal(t)
	for _, c := range []struct {
		term, ci string
		bars     bool
	}{{"dumb", "", false}, {"xterm", "true", false}, {"xterm", "", true}} {
		t.Setenv("TERM", c.term)
		t.Setenv("CI", c.ci)
		if opt := For(slave).opt; opt.Bars != c.bars || !opt.Lines {
			t.Errorf("TERM=%s CI=%s: %+v", c.term, c.ci, opt)
		}
	}
	s := For(slave).Begin("converting", 4<<30, Bytes)
	s.Set(1 << 30)
	var got []byte
	for buf := make([]byte, 1024); bytes.Count(got, []byte("\r")) < 3; {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	s.End()
	lines := bytes.Split(got, []byte("\r"))
	for _, line := range lines[:len(lines)-1] { // the last may not be whole
		if len(line) > 59 || len(line) > 0 && !bytes.HasPrefix(line, []byte("converting 25.00% [")) {
			t.Errorf("%q", line)
		}
	}
	if For(&bytes.Buffer{}).opt.Bars {
		t.Error("bars in a buffer")
	}
}
