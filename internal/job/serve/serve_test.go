package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime/engine"
)

// The demo answers, and ends when it is interrupted.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Demo: true, Host: "127.0.0.1", Engine: engine.Options{Parallel: 2},
			Ready: func(address string) { ready <- address }})
	}()
	var address string
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	body := strings.NewReader(`{"prompt":"a","max_tokens":2}`)
	r, err := http.Post(address+"/v1/completions", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK || !strings.Contains(string(b), "tiny-phi3") {
		t.Errorf("%d %s", r.StatusCode, b)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What cannot be served is refused before a request comes.
func TestRefused(t *testing.T) {
	for _, o := range []Options{
		{Models: []string{"none"}, Host: "127.0.0.1"},
		{Demo: true, Host: "no such host.invalid"},
		{Demo: true, Host: "127.0.0.1", Engine: engine.Options{Context: 1 << 20}},
	} {
		err := Run(t.Context(), o)
		if err == nil {
			t.Errorf("%+v: no error", o)
		}
		var mistake *usage.Error
		named := errors.As(err, &mistake) && strings.Contains(err.Error(), o.Host)
		if strings.Contains(o.Host, "invalid") && !named {
			t.Errorf("a host that is none: %v", err)
		}
	}
}
