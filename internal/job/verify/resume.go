package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/verify"
)

// saves says when the file of progress was written.
type saves struct {
	last  time.Time     // when it was written last, at first when the run began
	took  time.Duration // how long that took
	saved bool          // progress was saved at least once by this run

	failed bool // it could not be written once
}

func (p *saves) start() { p.last = time.Now() }

// due reports whether it is time to write the file again. Writing takes at most a twentieth of the time.
func (p *saves) due(now time.Time, every time.Duration) bool {
	return now.Sub(p.last) >= max(every, 20*p.took)
}

// resume reads what an interrupted run saved, if that was the same verification.
func (r *run) resume() error {
	if r.Progress == "" {
		return nil
	}
	data, err := os.ReadFile(r.Progress)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch positions, err := r.savedPositions(data); {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		r.Monitor.Note("%s does not fit, the verification starts from the beginning: %v", r.Progress, err)
	default:
		r.positions = positions
		r.Monitor.Note("continuing after %d of %d windows, from %s", r.doneByAll(), len(r.windows), r.Progress)
	}
	return nil
}

// savedPositions returns the positions in the content of a file of progress.
func (r *run) savedPositions(data []byte) ([]verify.Positions, error) {
	old, err := verify.ReadReports(r.Progress, data)
	if err != nil {
		return nil, err
	}
	now, err := r.reports()
	if err != nil {
		return nil, err
	}
	if len(old) != len(now) {
		return nil, fmt.Errorf("it is of %s, not %d", report.Plural(len(old), "model"), len(now))
	}
	var positions []verify.Positions
	for k, o := range old {
		if err := now[k].SameRun(o); err != nil {
			return nil, err
		}
		if (o.Shard == nil) != (r.Shard == nil) || r.Shard != nil && *o.Shard != *r.Shard {
			return nil, errors.New("it is of another part")
		}
		if !verify.PositionsOf(r.windows, o.Positions) {
			return nil, errors.New("its positions are not those of these windows")
		}
		positions = append(positions, o.Positions)
	}
	return positions, nil
}

// save writes what is done to the file of progress, if there is one and it is time to, or if always is set.
func (r *run) save(always bool) error {
	if r.Progress == "" || len(r.positions[0]) == 0 || !r.models.ready() {
		return nil
	}
	every := r.SaveEvery
	if every == 0 {
		every = 5 * time.Second
	}
	start := time.Now()
	if !always && !r.saves.due(start, every) {
		return nil
	}
	list, err := r.reports()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := list.WriteReport(&b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(r.Progress, b.Bytes()); err != nil { // no reason to lose what is done
		if !r.saves.failed {
			r.Monitor.Note("%v: this run cannot be continued if it is interrupted", err)
		}
		r.saves.failed = true
		return nil
	}
	now := time.Now()
	r.saves = saves{last: now, took: now.Sub(start), saved: true}
	return nil
}

// RemoveProgress removes a file of progress, if there is one, after the report was written.
func RemoveProgress(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
