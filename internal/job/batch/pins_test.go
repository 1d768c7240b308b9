package batch

import (
	"context"
	"crypto/sha256"
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

// startRegistry starts a registry with an artifact for each content, and returns its name without a tag, and the
// digests of the artifacts. The tag latest is that of the content that the test may change.
func startRegistry(t *testing.T, contents ...string) (name string, digests []string, latest *atomic.Value) {
	t.Helper()
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifests := map[string][]byte{}
	for _, c := range contents {
		const form = `{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": "application/vnd.oci.empty.v1+json",
			"digest": "sha256:%x", "size": 2}, "layers": [{"mediaType": "application/octet-stream",
			"digest": "sha256:%x", "size": %d, "annotations": {"org.opencontainers.image.title": "m.gguf"}}]}`
		data := fmt.Appendf(nil, form, manifestType, sha256.Sum256([]byte("{}")), sha256.Sum256([]byte(c)), len(c))
		d := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
		manifests[d] = data
		digests = append(digests, d)
	}
	latest = new(atomic.Value)
	latest.Store(digests[0])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := strings.TrimPrefix(r.URL.Path, "/v2/me/model/manifests/")
		if d == "latest" {
			d = latest.Load().(string)
		}
		data, ok := manifests[d]
		if !ok { // a signature
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", d)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return "oci://" + strings.TrimPrefix(server.URL, "http://") + "/me/model", digests, latest
}

// Workers that share a store work on one version of a branch or tag, also while it moves; when all is done, the next
// run takes the newer one.
func TestPins(t *testing.T) {
	t.Run("hub", func(t *testing.T) {
		commit := startHub(t)
		a, b := commit.Load().(string), strings.Repeat("b", 40)
		testPins(t, "hf://me/model", "hf://me/model@"+a, "hf://me/model@"+b, func() { commit.Store(b) })
	})
	t.Run("registry", func(t *testing.T) {
		name, digests, latest := startRegistry(t, "old", "newer")
		testPins(t, name+":latest", name+"@"+digests[0], name+"@"+digests[1], func() { latest.Store(digests[1]) })
	})
}

// testPins runs a batch whose model is name, which leads to a, and to b when it has moved.
func testPins(t *testing.T, name, a, b string, move func()) {
	path := filepath.Join(t.TempDir(), "jobs.yaml")
	text := "batch: 1\nstore: out\nmodels: [{name: a, path: '" + name + "'}]\ntypes: [Q4_K_M, Q8_0]\n"
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path, "")
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
	if at(first) != a || len(events) > 0 {
		t.Fatalf("%s, %v", at(first), events)
	}
	move()
	second := join()
	if at(second) != at(first) || second.Steps[0].ID != first.Steps[0].ID || len(events) != 1 ||
		events[0].Name != at(first) || !strings.Contains(events[0].Message, b) {
		t.Errorf("while %s is worked on: %s, %v", at(first), at(second), events)
	}
	now, err := Now(t.Context(), s, Find, PinNow)
	if err != nil || at(now) != b || now.Steps[0].ID == first.Steps[0].ID {
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
	if p := join(); at(p) != b {
		t.Errorf("after all was done: %s", at(p))
	}
	reports(b)
}

// Only what steps read is asked for, and each name once: a text for statistics that nothing needs may be gone.
func TestPinsOfSteps(t *testing.T) {
	s := &Spec{
		Models: []Model{{"a", "hf://me/a"}, {"b", "dir"}}, Types: []Type{{Name: "Q8_0"}}, Methods: []string{none},
		Calibration:  Calibration{Texts: []string{"hf://me/gone"}, Shards: 1},
		Verification: &Verification{Texts: []string{"hf://me/text"}, Shards: 2},
	}
	var asked []string
	pins, err := newPlan(s).pins(t.Context(), func(_ context.Context, name string) (string, error) {
		asked = append(asked, name)
		return strings.Replace(name, "/a", "/a@1", 1), nil
	})
	if want := []string{"hf://me/a", "hf://me/text"}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("%q were asked for, %v, expected %q", asked, err, want)
	}
	if len(pins) != 1 || pins["hf://me/a"] != "hf://me/a@1" {
		t.Errorf("%v", pins)
	}
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
