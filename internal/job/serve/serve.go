// Package serve opens models and serves them until it is interrupted.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/serve"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/testdata"
)

// Options say what is served, and where.
type Options struct {
	Models  []string // paths; none with Demo
	Demo    bool     // serve the tiny model that is part of the program, and quantized ones of it
	Host    string
	Port    int // 0 for any that is free
	Engine  engine.Options
	HTTP    serve.Options
	Compute runtime.Options // but Progress and Batched
	Draft   string          // a model that guesses what comes, "" for none
	Lookup  bool            // guess that what occurred occurs again
	Monitor progress.Monitor
	// Ready, if not nil, is called with the address when requests are taken.
	Ready func(address string)
}

// Run serves until ctx is done, and returns its error then. Requests that run are ended.
func Run(ctx context.Context, o Options) (err error) {
	if o.Demo {
		dir, err := os.MkdirTemp("", "phi3conv-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if o.Models, err = demo(ctx, dir, o.Compute.Threads); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return usage.Errorf("--host %s is no address of this machine: %v", o.Host, err)
	}
	if err != nil {
		return fmt.Errorf("%w: --host and --port say where to listen, and another program may do so there", err)
	}
	defer func() { _ = listener.Close() }()
	var models []*serve.Model
	for _, path := range o.Models {
		m, done, err := open(ctx, path, o)
		if err != nil {
			return err
		}
		defer done()
		for _, other := range models {
			if other.ID == m.ID {
				return usage.Errorf("two models are named %s: rename a file", m.ID)
			}
		}
		models = append(models, m)
	}
	server := &http.Server{
		Handler:           serve.New(models, o.HTTP),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	address := "http://" + listener.Addr().String()
	progress.Quiet(o.Monitor).Note("serving at %s; Ctrl-C ends it", address)
	if o.Ready != nil {
		o.Ready(address)
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Requests see that ctx is done; what they still write gets a moment.
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

// demo writes the tiny model and two quantized ones of it into dir.
func demo(ctx context.Context, dir string, threads int) (paths []string, err error) {
	original := filepath.Join(dir, "tiny-phi3")
	if err := testdata.Write("tiny-phi3", original); err != nil {
		return nil, err
	}
	m, err := source.Open(original)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	paths = append(paths, original)
	for _, name := range []string{"Q4_K_M", "Q2_K"} {
		t, err := policy.FileTypeByName(name)
		if err != nil {
			return nil, err
		}
		plan, err := convert.NewPlan(m, convert.Options{Policy: policy.Policy{FileType: t}})
		if err != nil {
			return nil, err
		}
		path := original + "-" + name + ".gguf"
		limits := convert.Limits{Threads: max(threads, 1), Memory: 1 << 30}
		if err := plan.Run(ctx, path, limits); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// open opens a model and starts its engine. done ends both.
func open(ctx context.Context, path string, o Options) (served *serve.Model, done func(), err error) {
	tok, err := tokenizer.Open(path)
	if err != nil {
		return nil, nil, err
	}
	facts, err := model.ReadFacts(path)
	if err != nil {
		return nil, nil, err
	}
	o.Compute.Batched = true
	m, err := model.Open(ctx, path, o.Compute, o.Monitor)
	if err != nil {
		return nil, nil, err
	}
	// The queue is one of requests, whose prompts then wait in the engine, as many of each as run.
	parallel, queue := o.Engine.Parallel, o.Engine.Queue
	if queue <= 0 {
		queue = 4 * parallel
	}
	o.Engine.Queue = (parallel + queue) * parallel
	e, err := engine.New(m, o.Engine)
	if err != nil {
		_ = m.Close() // only read from
		return nil, nil, usage.Errorf("%s: %v", path, err)
	}
	name := modelcard.BaseName(path)
	for _, ext := range []string{".gguf", ".pmap"} {
		name = strings.TrimSuffix(name, ext)
	}
	served = &serve.Model{
		ID: name, Engine: e, Tokenizer: tok, VocabSize: m.VocabSize(), Parallel: parallel, Queue: queue,
		Lookup: o.Lookup, About: serve.About(facts),
	}
	done = func() { e.Close(); _ = m.Close() } // only read from
	if o.Draft == "" {
		return served, done, nil
	}
	draft, err := model.OpenDraft(ctx, o.Draft, m, tok, o.Compute, e.Context(), parallel, o.Monitor)
	if err != nil {
		done()
		return nil, nil, err
	}
	served.Draft = draft.DraftModel
	return served, func() { e.Close(); draft.Close(); _ = m.Close() }, nil
}
