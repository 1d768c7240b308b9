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

// Pins are the versions of inputs that follow something, such as a branch of the hub: for each name in the batch file,
// the name of what is there now.
type Pins map[string]string

// Pin finds the version of an input: its name if that always leads to the same.
type Pin func(ctx context.Context, name string) (string, error)

// PinNow is a [Pin] that asks the servers.
func PinNow(ctx context.Context, name string) (string, error) {
	return remote.Pin(ctx, name, remote.Options{UserAgent: "phi3conv batch"})
}

// inputs returns the names of all inputs, which may be changed.
func (s *Spec) inputs() (names []*string) {
	for i := range s.Models {
		names = append(names, &s.Models[i].Path)
	}
	for i := range s.Calibration.Texts {
		names = append(names, &s.Calibration.Texts[i])
	}
	if s.Verification != nil {
		for i := range s.Verification.Texts {
			names = append(names, &s.Verification.Texts[i])
		}
	}
	return names
}

// pins finds the versions of all inputs that follow something.
func (s *Spec) pins(ctx context.Context, pin Pin) (Pins, error) {
	all := Pins{}
	for _, name := range s.inputs() {
		if !isURL(*name) || all[*name] != "" {
			continue
		}
		now, err := pin(ctx, *name)
		if err != nil {
			return nil, err
		}
		if now != *name {
			all[*name] = now
		}
	}
	return all, nil
}

// pinned returns the batch with inputs of these versions.
func (s *Spec) pinned(pins Pins) *Spec {
	c := *s
	c.Models, c.Calibration.Texts = slices.Clone(s.Models), slices.Clone(s.Calibration.Texts)
	if s.Verification != nil {
		v := *s.Verification
		v.Texts, c.Verification = slices.Clone(v.Texts), &v
	}
	for _, name := range c.inputs() {
		if now := pins[*name]; now != "" {
			*name = now
		}
	}
	return &c
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
	now, err := s.pins(ctx, pin)
	if err != nil {
		return nil, err
	}
	return Expand(ctx, s.pinned(now), identify)
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
	return Expand(ctx, s.pinned(last), identify)
}

// Join makes the plan that a worker works on, the same one for all that share a store: with the versions that inputs
// have now, unless what was begun with others is not complete. event is told if that is so.
func Join(
	ctx context.Context, s *Spec, store objects.Store, identify Identify, pin Pin, event func(Event),
) (*Plan, error) {
	now, err := s.pins(ctx, pin)
	if err != nil {
		return nil, err
	}
	if len(now) == 0 {
		return Expand(ctx, s, identify)
	}
	for {
		last, number, err := s.lastPins(ctx, store)
		if err != nil {
			return nil, err
		}
		if number > 0 {
			p, err := Expand(ctx, s.pinned(last), identify)
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
