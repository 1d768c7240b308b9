package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/input"
)

// quotes begin and end a message of several lines.
const quotes = `"""`

// complete says whether lines are a whole message: they are unless they begin with quotes and do not end with them.
func complete(text string) bool {
	text = strings.TrimSpace(text)
	rest, quoted := strings.CutPrefix(text, quotes)
	return !quoted || strings.HasSuffix(rest, quotes)
}

// message removes quotes, and the line breaks beside them.
func message(text string) string {
	rest, quoted := strings.CutPrefix(strings.TrimSpace(text), quotes)
	if !quoted {
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(rest, quotes), "\n"), "\n")
}

// maxMessage is the most bytes that a message from a pipe may have.
const maxMessage = 64 << 20

// Lines reads messages from any stream, each a line unless it goes on as the editor's do.
type Lines struct {
	prompt string
	out    io.Writer // for the prompt
	lines  <-chan line
	err    error // that ended the input
}

// line is a line of input, or the last one and the error that ended it.
type line struct {
	text string
	err  error
}

// NewLines reads from a stream. Before it reads a message it writes the prompt.
func NewLines(in io.Reader, out io.Writer, prompt string) *Lines {
	lines := make(chan line)
	go func() { // a read cannot be interrupted: it ends with the input or the program
		b := bufio.NewReader(in)
		for {
			text, err := readLine(b, maxMessage)
			lines <- line{strings.TrimRight(text, "\r\n"), err}
			if err != nil {
				return
			}
		}
	}()
	return &Lines{prompt: prompt, out: out, lines: lines}
}

// readLine reads a line of up to so many bytes.
func readLine(b *bufio.Reader, most int) (string, error) {
	var text []byte
	for {
		part, err := b.ReadSlice('\n')
		if text = append(text, part...); len(text) > most {
			return "", tooLong(most)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(text), err
		}
	}
}

// Read returns the next message that is not empty.
func (l *Lines) Read(ctx context.Context) (string, error) {
	for {
		if text, err := l.read(ctx); err != nil || strings.TrimSpace(text) != "" {
			return text, err
		}
	}
}

func (l *Lines) read(ctx context.Context) (string, error) {
	if l.err != nil {
		return "", l.err
	}
	if _, err := io.WriteString(l.out, l.prompt); err != nil {
		return "", err
	}
	var text strings.Builder
	for {
		var in line
		select {
		case in = <-l.lines:
		case <-ctx.Done():
			return "", l.end(ctx.Err())
		}
		if l.err = in.err; l.err != nil && (in.text == "" && text.Len() == 0 || l.err != io.EOF) {
			return "", l.end(l.err)
		}
		part, goesOn := strings.CutSuffix(in.text, `\`)
		text.WriteString(part)
		switch {
		case text.Len() > maxMessage:
			return "", tooLong(maxMessage)
		case l.err != nil || !goesOn && complete(text.String()):
			return message(text.String()), nil
		}
		text.WriteByte('\n')
	}
}

func tooLong(most int) error {
	return formats.FileErrorf(input.Name(input.Stdin), -1, "a message of more than %d bytes", most)
}

// end ends the line that a prompt began.
func (l *Lines) end(err error) error {
	if l.prompt != "" {
		_, _ = fmt.Fprintln(l.out)
	}
	return err
}
