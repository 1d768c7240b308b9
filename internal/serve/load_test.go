package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/runtime/engine"
)

// loadTime is how long TestLoad takes. PHI3CONV_LOAD=10m makes it a long one.
func loadTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("PHI3CONV_LOAD")
	if s == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// loadKinds are what the clients of TestLoad ask for; the answer of each is known.
var loadKinds = []struct{ path, body string }{
	{"/v1/completions", `{"prompt":"The dog","max_tokens":8,"temperature":0}`},
	{"/v1/completions", `{"prompt":["The cat","A"],"max_tokens":3,"seed":5,"logprobs":2,"echo":true}`},
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"seed":1}`},
	{"/api/generate", `{"prompt":"Hi","raw":true,"options":{"num_predict":6,"seed":2},"stream":false}`},
	{"/v1/embeddings", `{"input":"The dog ran to the park"}`},
	{"/tokenize", `{"prompt":"The dog"}`},
}

// load is what the clients of TestLoad saw.
type load struct {
	t           *testing.T
	url         string
	want        []string
	right, full atomic.Int64
}

// loadAnswer returns what of an answer is the same each time.
func loadAnswer(status int, body string) string {
	for _, cut := range []string{`"id":"`, `"created":`, `"cached_tokens":`, `"created_at":"`, `_duration":`} {
		for {
			before, after, found := strings.Cut(body, cut)
			if !found {
				break
			}
			_, after, _ = strings.Cut(after, ",")
			body = before + after
		}
	}
	return fmt.Sprint(status, body)
}

func (l *load) ask(ctx context.Context, kind int) {
	k := loadKinds[kind]
	r, _ := http.NewRequestWithContext(ctx, "POST", l.url+k.path, strings.NewReader(k.body))
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			l.t.Errorf("%s: %v", k.path, err)
		}
		return
	}
	defer func() { _ = a.Body.Close() }()
	b, err := io.ReadAll(a.Body)
	switch {
	case ctx.Err() != nil || err != nil:
	case a.StatusCode == http.StatusTooManyRequests && a.Header.Get("Retry-After") != "":
		l.full.Add(1)
		time.Sleep(20 * time.Millisecond)
	default:
		if got := loadAnswer(a.StatusCode, string(b)); l.want[kind] != "" && got != l.want[kind] {
			l.t.Errorf("%s %s\n%s\nalone\n%s", k.path, k.body, got, l.want[kind])
		}
		l.right.Add(1)
	}
}

// rude has connections of its own: the server closes one on which it was sent too much.
var rude = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// misbehave is a client that sends nonsense, or too much, or does not read, or leaves in the middle.
func (l *load) misbehave(r *rand.Rand) {
	send := func(path, body string, expect int) {
		a, err := rude.Post(l.url+path, "application/json", strings.NewReader(body))
		if err != nil {
			return // the server may close before all of a large body is sent
		}
		_, _ = io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		if a.StatusCode != expect && a.StatusCode != http.StatusTooManyRequests {
			l.t.Errorf("%s %.40s: %d, expected %d", path, body, a.StatusCode, expect)
		}
	}
	switch kind := r.IntN(len(loadKinds) - 1); r.IntN(5) {
	case 0:
		send(loadKinds[kind].path, loadKinds[kind].body[:5+r.IntN(20)], 400)
	case 1:
		send(loadKinds[kind].path, `{"x":"`+strings.Repeat("a", 60000)+`"}`, 413)
	case 2: // leaves
		ctx, leave := context.WithTimeout(context.Background(), time.Duration(r.IntN(30))*time.Millisecond)
		l.ask(ctx, kind)
		leave()
	default: // sends a part, or reads a part of a stream, and goes
		c, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
		if err != nil {
			return
		}
		body := `{"prompt":"a","max_tokens":-1,"ignore_eos":true,"stream":true}`
		_, _ = fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body[:len(body)-r.IntN(2)])
		_ = c.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(100)) * time.Millisecond))
		_, _ = bufio.NewReader(c).ReadString('\n')
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
		_ = c.Close()
	}
}

// Clients of all kinds at the same time: right answers, 429 where the queue is full, and nothing is left behind.
func TestLoad(t *testing.T) {
	s := start(t, Options{Body: 50000}, engine.Options{Parallel: 4, Queue: 100})
	l := &load{t: t, url: s.URL, want: make([]string, len(loadKinds))}
	for i, k := range loadKinds {
		r, err := http.Post(s.URL+k.path, "application/json", strings.NewReader(k.body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		l.want[i] = loadAnswer(r.StatusCode, string(b))
		if r.StatusCode != http.StatusOK {
			t.Fatal(l.want[i])
		}
	}
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	// idle waits for all clients to be gone, and returns goroutines and bytes of the heap.
	idle := func() (routines int, heap uint64) {
		for range 1000 {
			http.DefaultClient.CloseIdleConnections()
			if runtime.NumGoroutine() <= before {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	round := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 0))
				for ctx.Err() == nil {
					if i%4 == 0 {
						l.misbehave(r)
					} else {
						l.ask(ctx, r.IntN(len(loadKinds)))
					}
				}
			})
		}
		all.Wait()
	}
	d := loadTime(t)
	round(d / 2)
	routines, heap := idle()
	right := l.right.Load()
	round(d / 2)
	after, heapAfter := idle()
	t.Logf("%d right answers, %d times full; goroutines %d and %d, heap %d and %d KiB",
		l.right.Load(), l.full.Load(), routines, after, heap>>10, heapAfter>>10)
	if right == 0 || l.full.Load() == 0 {
		t.Errorf("%d right answers, %d times full", right, l.full.Load())
	}
	if after > before+before/20 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
	if heapAfter > heap+heap/20+1<<20 {
		t.Errorf("%d bytes of the heap, %d before", heapAfter, heap)
	}
}
