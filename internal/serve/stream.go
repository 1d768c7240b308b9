package serve

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// stream sends events as they come, in the form of server-sent events or, as Ollama does, of a JSON object a line.
type stream struct {
	lines   bool
	w       http.ResponseWriter
	control *http.ResponseController
	wait    time.Duration
	begun   bool
}

func (s *Server) newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, control: http.NewResponseController(w), wait: s.opt.Write}
}

// send sends an event. A client that does not take it in time is given up.
func (s *stream) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(b)
}

func (s *stream) write(data []byte) error {
	if !s.begun {
		s.begun = true
		kind := "text/event-stream"
		if s.lines {
			kind = "application/x-ndjson"
		}
		s.w.Header().Set("Content-Type", kind)
		s.w.Header().Set("Cache-Control", "no-cache")
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(s.wait)) // not every writer has deadlines
	before, after := "data: ", "\n\n"
	if s.lines {
		before, after = "", "\n"
	}
	if _, err := s.w.Write(slices.Concat([]byte(before), data, []byte(after))); err != nil {
		return err
	}
	return s.control.Flush()
}

// end sends what ends a stream: an error as an event if others were sent, so that no client takes the answer for whole.
func (s *stream) end(err error) error {
	switch {
	case err == nil && s.lines: // the last object says that it is the last
	case err == nil:
		_ = s.write([]byte("[DONE]")) // a client that left
	case !s.begun:
		return err
	default:
		_ = s.send(errorBody(asAPI(err), s.lines))
	}
	return nil
}

// newID makes an id of an answer.
func newID(kind string) string { return kind + "-" + rand.Text() }
