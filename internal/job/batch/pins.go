package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/remote"
)

// Pins are the versions of inputs that follow something, such as a branch of the hub or a tag: for each name in the
// batch file, the name of what is there now.
type Pins map[string]string

// Pin finds the version of an input: its name if that always leads to the same.
type Pin func(ctx context.Context, name string) (string, error)

// PinNow is a [Pin] that asks the servers.
func PinNow(ctx context.Context, name string) (string, error) {
	return remote.Pin(ctx, name, remote.Options{UserAgent: "phi3conv batch"})
}

// pins finds the versions of all inputs of steps that follow something.
func (p *Plan) pins(ctx context.Context, pin Pin) (Pins, error) {
	all := Pins{}
	for _, name := range p.inputs() {
		if !isURL(name) {
			continue
		}
		now, err := pin(ctx, name)
		if err != nil {
			return nil, err
		}
		if now != name {
			all[name] = now
		}
	}
	return all, nil
}

// pinsKey is where a store keeps the versions that workers of a batch file agree on: those of the greatest number
// count.
func (s *Spec) pinsKey(number int) string { return fmt.Sprintf("pins/%s/%04d", s.hash, number) }

// lastPins reads the versions that workers agree on last, and their number, 0 if there are none.
func (s *Spec) lastPins(ctx context.Context, store objects.Store) (pins Pins, number int, err error) {
	keys, err := store.List(ctx, "pins/"+s.hash+"/")
	if err != nil || len(keys) == 0 {
		return nil, 0, err
	}
	data, err := store.Get(ctx, s.pinsKey(len(keys)))
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(data, &pins); err != nil {
		return nil, 0, formats.WithPath(formats.Wrapf(err, -1, "versions of inputs"), s.pinsKey(len(keys)))
	}
	return pins, len(keys), nil
}

// Now makes the plan with the versions that inputs have now. No store is asked.
func Now(ctx context.Context, s *Spec, identify Identify, pin Pin) (*Plan, error) {
	now, err := newPlan(s).pins(ctx, pin)
	if err != nil {
		return nil, err
	}
	return Expand(ctx, s, now, identify)
}

// Last makes the plan of which workers have begun the last, with the versions of then; that of now if there was none.
func Last(ctx context.Context, s *Spec, store objects.Store, identify Identify, pin Pin) (*Plan, error) {
	last, number, err := s.lastPins(ctx, store)
	if err != nil {
		return nil, err
	}
	if number == 0 {
		return Now(ctx, s, identify, pin)
	}
	return Expand(ctx, s, last, identify)
}

// Join makes the plan that a worker works on, the same one for all that share a store: with the versions that inputs
// have now, unless what was begun with others is not complete. event is told if that is so.
func Join(
	ctx context.Context, s *Spec, store objects.Store, identify Identify, pin Pin, event func(Event),
) (*Plan, error) {
	now, err := newPlan(s).pins(ctx, pin)
	if err != nil {
		return nil, err
	}
	if len(now) == 0 {
		return Expand(ctx, s, nil, identify)
	}
	for {
		last, number, err := s.lastPins(ctx, store)
		if err != nil {
			return nil, err
		}
		if number > 0 {
			p, err := Expand(ctx, s, last, identify)
			if err != nil || maps.Equal(last, now) {
				return p, err
			}
			status, err := Look(ctx, p, store)
			if err != nil {
				return nil, err
			}
			if status.open() {
				for _, name := range slices.Sorted(maps.Keys(now)) {
					if last[name] != now[name] {
						event(Event{Event: "older version", Name: last[name],
							Message: fmt.Sprintf("is completed before %s", now[name])})
					}
				}
				return p, nil
			}
		}
		data, err := json.MarshalIndent(now, "", "  ")
		if err != nil {
			return nil, err
		}
		if err := store.Create(ctx, s.pinsKey(number+1), data); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err // otherwise another worker was first
		}
	}
}
