package objects

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
)

// Memory is a store in memory, for tests.
type Memory struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (m *Memory) String() string { return "memory" }

// Create stores an object unless there is one.
func (m *Memory) Create(_ context.Context, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.data[key]; ok {
		return fmt.Errorf("%s: %w", key, fs.ErrExist)
	}
	m.put(key, data)
	return nil
}

func (m *Memory) put(key string, data []byte) {
	if m.data == nil {
		m.data = map[string][]byte{}
	}
	m.data[key] = slices.Clone(data)
}

// Put stores an object.
func (m *Memory) Put(_ context.Context, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, data)
	return nil
}

// Get returns an object.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.data[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return slices.Clone(data), nil
}

// List returns keys.
func (m *Memory) List(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for k := range m.data {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Upload reads a file.
func (m *Memory) Upload(ctx context.Context, key, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return m.Put(ctx, key, data)
}

// Download writes a file.
func (m *Memory) Download(ctx context.Context, key, file string) error {
	data, err := m.Get(ctx, key)
	if err != nil {
		return err
	}
	return writeFile(file, data)
}

// Remove removes an object.
func (m *Memory) Remove(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.data, key)
	return nil
}
