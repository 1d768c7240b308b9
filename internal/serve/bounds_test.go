package serve

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/runtime/engine"
)

// What may fill the memory is refused, and what takes too long is ended.
func TestBounds(t *testing.T) {
	s := start(t, Options{Timeout: 50 * time.Millisecond}, engine.Options{})
	const much = `{"prompt":"a","n":128,"max_tokens":-1,"logprobs":100}`
	status, a := post(t, s, "/v1/completions", much)
	if message := at(a, "error", "message").(string); status != 400 || !strings.Contains(message, "at most 2097152") {
		t.Errorf("%d %v", status, a)
	}
	status, a = post(t, s, "/v1/completions", `{"prompt":"a","n":100,"max_tokens":-1,"ignore_eos":true}`)
	if status != http.StatusGatewayTimeout || at(a, "error", "code") != "timeout" {
		t.Errorf("%d %v", status, a)
	}
}
