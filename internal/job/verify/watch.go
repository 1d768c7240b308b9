package verify

import (
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/verify"
)

// watched is a step that shows how models evaluate windows.
type watched struct {
	*model.Watched
	windows []verify.Window
	done    int
	tokens  int64 // of the windows that are done
}

// watch begins a step in which each of the models evaluates all windows.
func watch(m progress.Monitor, what string, windows []verify.Window, models ...*model.Meter) *watched {
	total := int64(0)
	for i := range windows {
		total += int64(len(windows[i].Tokens))
	}
	return &watched{Watched: model.Watch(m, what, total, float64(total), models...), windows: windows}
}

// windowDone says that all models are done with one more window.
func (w *watched) windowDone() {
	w.tokens += int64(len(w.windows[w.done].Tokens))
	w.done++
	w.Done(w.tokens)
}
