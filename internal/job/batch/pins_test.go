package batch

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/phi3conv/phi3conv/internal/objects"
)

// startHub starts a hub with the model me/model, whose branch main is at a commit that the test may change.
func startHub(t *testing.T) *atomic.Value {
	t.Helper()
	var commit atomic.Value
	commit.Store(strings.Repeat("a", 40))
	const api = "/api/models/me/model/"
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == api+"revision/main":
			_, _ = fmt.Fprintf(w, `{"sha": %q}`, commit.Load())
		case strings.HasPrefix(path, api+"tree/"): // the content is the commit's name
			_ = json.NewEncoder(w).Encode([]map[string]any{
				{"type": "file", "path": "config.json", "size": 10, "oid": strings.TrimPrefix(path, api+"tree/")}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(hub.Close)
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	t.Setenv("HF_HUB_OFFLINE", "")
	return &commit
}

// Workers that share a store work on one version of a branch, also while it moves; when all is done, the next run takes
// the newer one.
func TestPins(t *testing.T) {
	commit := startHub(t)
	a, b := commit.Load().(string), strings.Repeat("b", 40)
	path := filepath.Join(t.TempDir(), "jobs.yaml")
	text := "batch: 1\nstore: out\nmodels: [{name: a, path: 'hf://me/model'}]\ntypes: [Q4_K_M, Q8_0]\n"
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	store := new(objects.Memory)
	var events []Event
	join := func() *Plan {
		t.Helper()
		p, err := Join(t.Context(), s, store, Find, PinNow, func(e Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	at := func(p *Plan) string { return p.Steps[0].Command(nil)[1] }
	first := join()
	if at(first) != "hf://me/model@"+a || len(events) > 0 {
		t.Fatalf("%s, %v", at(first), events)
	}
	commit.Store(b)
	second := join()
	if at(second) != at(first) || second.Steps[0].ID != first.Steps[0].ID || len(events) != 1 ||
		events[0].Name != at(first) || !strings.Contains(events[0].Message, b) {
		t.Errorf("while %s is worked on: %s, %v", at(first), at(second), events)
	}
	now, err := Now(t.Context(), s, Find, PinNow)
	if err != nil || at(now) != "hf://me/model@"+b || now.Steps[0].ID == first.Steps[0].ID {
		t.Errorf("the plan of now: %s, %v", at(now), err)
	}
	f := &fake{runs: map[string]int{}}
	if status, err := Run(t.Context(), second, options(store, f, "w")); err != nil || status.open() {
		t.Fatal(status, err)
	}
	reports := func(want string) {
		t.Helper()
		if p, err := Last(t.Context(), s, store, Find, PinNow); err != nil || at(p) != want {
			t.Errorf("the report's: %s, %v", at(p), err)
		}
	}
	reports(at(first))
	if p := join(); at(p) != "hf://me/model@"+b {
		t.Errorf("after all was done: %s", at(p))
	}
	reports("hf://me/model@" + b)
}

// A store that workers reach at the same time has one answer, whatever each of them saw.
func TestPinsRace(t *testing.T) {
	commit := startHub(t)
	s := &Spec{Models: []Model{{"a", "hf://me/model"}}, Types: []Type{{Name: "Q8_0"}}, Methods: []string{none},
		hash: "h"}
	store := new(objects.Memory)
	plans := make(chan string)
	for i := range 8 {
		commit.Store(strings.Repeat(fmt.Sprint(i%2), 40))
		go func() {
			p, err := Join(t.Context(), s, store, Find, PinNow, func(Event) {})
			if err != nil {
				plans <- err.Error()
				return
			}
			plans <- p.Steps[0].ID
		}()
	}
	var all []string
	for range 8 {
		all = append(all, <-plans)
	}
	if slices.Sort(all); all[0] != all[7] {
		t.Errorf("different plans: %q", all)
	}
}
