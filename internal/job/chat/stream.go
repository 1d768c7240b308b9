package chat

import (
	"strings"

	"github.com/phi3conv/phi3conv/internal/stops"
	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// stream shows the tokens of an answer as text. Characters come whole, and nothing is shown that may begin a stop
// string.
type stream struct {
	dec  *tokenizer.Decoder
	stop stops.Finder
	show func(text string) error
	// format has accepted ids; nil if the answer is free.
	format *grammar.Constraint

	ids   []int32
	text  strings.Builder // what was shown
	found bool            // a stop string came
	err   error           // of show
}

// resume begins where an answer was cut.
func (s *stream) resume(ids []int32, text string) {
	s.ids = append([]int32{}, ids...)
	s.text.WriteString(text)
}

// follow keeps the answer, as far as it came and from now on, to a format. Nil is none.
func (s *stream) follow(format *grammar.Automaton, stop []int32) {
	if format == nil {
		return
	}
	s.format = format.Constraint(stop)
	for _, id := range s.ids {
		s.format.Accept(id)
	}
}

// token takes the next token. It returns false to end the answer.
func (s *stream) token(id int32) bool {
	s.ids = append(s.ids, id)
	var text string
	text, s.found = s.stop.Add(s.dec.Next(id))
	s.put(text)
	return s.err == nil && !s.found
}

// end shows what was held back.
func (s *stream) end() {
	if s.found || s.err != nil {
		return
	}
	text, _ := s.stop.Add(s.dec.Flush())
	s.put(text + s.stop.Held())
}

func (s *stream) put(text string) {
	s.text.WriteString(text)
	s.err = s.show(text)
}
