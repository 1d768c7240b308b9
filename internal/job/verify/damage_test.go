package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// damaged returns a copy of the Q8_0 file with the bytes changed from skip after a text on.
func damaged(t *testing.T, text string, skip int, change func(b []byte)) string {
	t.Helper()
	data := testmodel.Read(t, models.q8)
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("no %q", text)
	}
	change(data[at+len(text)+skip:])
	return testmodel.Write(t, filepath.Join(t.TempDir(), "damaged.gguf"), data)
}

// What follows a key in a GGUF file: the type of its value; of an array also the type of its elements and their number.
const (
	scalarHead = 4
	arrayHead  = 4 + 4 + 8
)

func damagedEOS(t *testing.T) string {
	return damaged(t, "tokenizer.ggml.eos_token_id", scalarHead, func(b []byte) { b[0] ^= 1 })
}

// damagedScores has two scores swapped, which are the order of the merges.
func damagedScores(t *testing.T) string {
	return damaged(t, "tokenizer.ggml.scores", arrayHead, func(b []byte) {
		first, second := b[4*300:4*301], b[4*301:4*302]
		swap := bytes.Clone(first)
		copy(first, second)
		copy(second, swap)
	})
}

// damagedToken has another token in the place of one that begins with a space.
func damagedToken(t *testing.T) string {
	return damaged(t, "\x04\x00\x00\x00\x00\x00\x00\x00▁", 0, func(b []byte) { b[0] = '~' })
}

// Damage that a text may not show is found and named.
func TestDamagedHeader(t *testing.T) {
	theta := damaged(t, "phi3.rope.freq_base", scalarHead, func(b []byte) {
		binary.LittleEndian.PutUint32(b, math.Float32bits(5e5))
	})
	for path, want := range map[string]string{
		theta:            "another model than the original: phi3.rope.freq_base is 500000, expected 10000",
		damagedEOS(t):    "its tokenizer is another than the original's: its EOS is ",
		damagedScores(t): "its tokenizer is another than the original's: its merges have the SHA-256 ",
	} {
		_, err := Run(t.Context(), eightWindows(path))
		wantError(t, err, false, "damaged.gguf: "+want)
	}
}

// A tokenizer that encodes the text in another way is shown by the first token that differs.
func TestAnotherTokenizer(t *testing.T) {
	const lengthThe = "\x06\x00\x00\x00\x00\x00\x00\x00▁th" // of "▁the"
	path := damaged(t, lengthThe, 0, func(b []byte) { b[0] = 'X' })
	_, err := Run(t.Context(), eightWindows(path))
	wantError(t, err, false, "damaged.gguf: its tokenizer is another than the original's: token ")
}

// One NaN weight ends the verification, whatever the limits.
func TestNaN(t *testing.T) {
	dir := testmodel.Phi3(t)
	path := filepath.Join(dir, "model.safetensors")
	data := testmodel.Read(t, path)
	size := int(binary.LittleEndian.Uint64(data))
	var header map[string]json.RawMessage
	var norm struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(header["model.norm.weight"], &norm); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(data[8+size+norm.Offsets[0]:], 0x7fc0) // BF16
	testmodel.Write(t, path, data)

	for what, models := range map[string][2]string{"quantized": {dir, tiny}, "base": {models.q4, dir}} {
		for _, oneAtATime := range []bool{false, true} {
			o := eightWindows(models[0])
			o.Base, o.OneAtATime = models[1], oneAtATime
			_, err := Run(t.Context(), o)
			wantError(t, err, false, what+" model: tokens 0 to 63 of text 0: ")
			if err != nil && !strings.Contains(err.Error(), "token 32 are not finite") {
				t.Error(err)
			}
		}
	}
}
