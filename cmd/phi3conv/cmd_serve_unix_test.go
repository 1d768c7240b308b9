//go:build unix

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is `phi3conv serve --demo` in a process of its own.
type server struct {
	cmd     *exec.Cmd
	address string // host and port
}

func startServer(t *testing.T, port string) *server {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--demo", "--port", port)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	notes, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said := ""
	for lines := bufio.NewScanner(notes); lines.Scan(); said += lines.Text() + "\n" {
		if _, after, found := strings.Cut(lines.Text(), "serving at http://"); found {
			address, _, _ := strings.Cut(after, ";")
			go func() { _, _ = io.Copy(io.Discard, notes) }()
			return &server{cmd, address}
		}
	}
	t.Fatalf("no address: %s", said)
	return nil
}

func (s *server) post(path, body string) (*http.Response, error) {
	return http.Post("http://"+s.address+path, "application/json", strings.NewReader(body))
}

// long is a request that does not end by itself while a test runs, without its end.
const long = `{"prompt":["a","b","c","d","e","f","g","h"],"n":128,"max_tokens":-1,"ignore_eos":true,`

// stream begins a long stream and reads its first event.
func (s *server) stream(t *testing.T) (*http.Response, *bufio.Scanner) {
	t.Helper()
	r, err := s.post("/v1/completions", long+`"stream":true}`)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r.Body)
	if !lines.Scan() || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s, error %v", r.Status, lines.Text(), lines.Err())
	}
	return r, lines
}

// whole asks for a long answer of another model, waits until that runs, and returns where to find out what comes of it.
func (s *server) whole(t *testing.T) <-chan string {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		r, err := s.post("/v1/completions", long+`"model":"tiny-phi3-Q2_K"}`)
		if err != nil {
			got <- "broken off"
			return
		}
		defer func() { _ = r.Body.Close() }()
		b, _ := io.ReadAll(r.Body)
		got <- r.Status + " " + string(b)
	}()
	for {
		m, err := http.Get("http://" + s.address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(m.Body)
		_ = m.Body.Close()
		if strings.Contains(string(b), `requests_running{model="tiny-phi3-Q2_K"} 8`) {
			return got
		}
		select {
		case early := <-got:
			t.Fatalf("an answer that is long: %.200s", early)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A server that is told to end, or is killed, in the middle of answers: clients see that they are not whole, the
// program ends with its code, and another takes its place at once.
func TestServerEnds(t *testing.T) {
	s := startServer(t, "0")
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, exitTerminated}, {syscall.SIGINT, exitInterrupted}, {syscall.SIGKILL, -1}} {
		clean := end.signal != syscall.SIGKILL
		r, events := s.stream(t)
		whole := s.whole(t)
		if err := s.cmd.Process.Signal(end.signal); err != nil {
			t.Fatal(err)
		}
		last := ""
		for events.Scan() {
			if events.Text() != "" {
				last = events.Text()
			}
		}
		_ = r.Body.Close()
		const stops = `{"error":{"message":"the server stops","type":"server_error"}}`
		if clean && (last != "data: "+stops || events.Err() != nil) || !clean && events.Err() == nil {
			t.Errorf("%v: the last event is %s, error %v", end.signal, last, events.Err())
		}
		if got := <-whole; clean && got != "503 Service Unavailable "+stops+"\n" || !clean && got != "broken off" {
			t.Errorf("%v: an answer that is no stream: %s", end.signal, got)
		}
		_ = s.cmd.Wait()
		if code := s.cmd.ProcessState.ExitCode(); code != end.code {
			t.Errorf("%v: %s, expected exit code %d", end.signal, s.cmd.ProcessState, end.code)
		}
		http.DefaultClient.CloseIdleConnections()
		s = startServer(t, port) // at the same port
		r, err := s.post("/v1/completions", `{"prompt":"a","max_tokens":1}`)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("after %v another server answers %v, error %v", end.signal, r, err)
		}
		_ = r.Body.Close()
	}
}
