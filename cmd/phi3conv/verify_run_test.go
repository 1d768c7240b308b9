package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/testdata"
	"github.com/phi3conv/phi3conv/verify"
)

// asProgram in the environment makes the test binary the program, for tests of what
// a program of its own does.
const asProgram = "PHI3CONV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// pair is two quantized models and their original.
type pair struct{ base, q4, q8 string }

func quantized(t *testing.T) pair {
	model := tinyModel(t)
	return pair{model, converted(t, model, "Q4_K_M"), converted(t, model, "Q8_0")}
}

// verified runs verify, which must succeed, and returns the report file and what it said on stderr.
func verified(t *testing.T, p pair, args ...string) (report []byte, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	stdout, stderr, code := phi3conv(t, append(verifyArgs(p, path), args...)...)
	if code != exitOK {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(path + ".partial"); !os.IsNotExist(err) {
		t.Errorf("progress is left: %v", err)
	}
	return read(t, path), stderr
}

// verifyArgs is a verification of 8 windows of two texts.
func verifyArgs(p pair, report string) []string {
	return slices.Clip([]string{"verify", "--base", p.base, "--text", evalText, "--text", "../../testdata/tiny-phi3-calib.txt", "-c", "128", "--chunks", "4", "--report", report})
}

// Every way to come by a report gives the same bytes.
func TestVerifyWays(t *testing.T) {
	p := quantized(t)
	want, _ := verified(t, p, p.q4, p.q8)

	t.Run("each alone", func(t *testing.T) {
		both, err := verify.ReadReports("both", want)
		if err != nil || len(both) != 2 {
			t.Fatal(err)
		}
		for i, q := range []string{p.q4, p.q8} {
			alone, _ := verified(t, p, q)
			var b bytes.Buffer
			if err := both[i].WriteReport(&b); err != nil || !bytes.Equal(b.Bytes(), alone) {
				t.Errorf("%s: another report, error %v", q, err)
			}
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		t.Setenv("TMP", dir)
		got, stderr := verified(t, p, p.q4, p.q8, "--one-at-a-time")
		if !bytes.Equal(got, want) {
			t.Error("another report")
		}
		// 8 windows of 63 positions of 575 tokens
		if !strings.Contains(stderr, "take 1.1 MiB in "+dir) {
			t.Errorf("no size of the temporary file: %s", stderr)
		}
		if files, err := filepath.Glob(filepath.Join(dir, "phi3conv*")); err != nil || len(files) > 0 {
			t.Errorf("temporary files are left: %v, %v", files, err)
		}
	})
	t.Run("threads, pages of the file", func(t *testing.T) {
		if got, _ := verified(t, p, p.q4, p.q8, "-t", "1", "--no-repack"); !bytes.Equal(got, want) {
			t.Error("another report")
		}
	})
	t.Run("parts", func(t *testing.T) {
		var parts []string
		for _, part := range []string{"3/3", "1/3", "2/3"} {
			path := filepath.Join(t.TempDir(), "part.json")
			data, _ := verified(t, p, p.q4, p.q8, "--shard", part)
			write(t, path, data)
			parts = append(parts, path)
		}
		path := filepath.Join(t.TempDir(), "all.json")
		stdout, stderr, code := phi3conv(t, append([]string{"verify", "merge", "--report", path, "--json", "--max-kld", "10"}, parts...)...)
		if code != exitOK {
			t.Fatal(stderr)
		}
		var got struct{ Reports []verify.Report }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Reports) != 2 || got.Reports[1].Verdict.Outcome != verify.Pass {
			t.Errorf("%v: %s", err, stdout)
		}
		merged, err := verify.ReadReports(path, read(t, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range merged {
			r.Verdict = nil
		}
		var b bytes.Buffer
		if err := merged.WriteReport(&b); err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("merged, another report; error %v", err)
		}
		if _, stderr, code := phi3conv(t, "verify", "merge", parts[0], parts[2]); code != exitBadInput || !strings.Contains(stderr, "part 1 of 3 is missing") {
			t.Errorf("exit %d\n%s", code, stderr)
		}
	})
}

// However a verification ended, the same command goes on; another one begins anew.
func TestVerifyResumes(t *testing.T) {
	p := quantized(t)
	want, _ := verified(t, p, p.q4, p.q8)
	report := filepath.Join(t.TempDir(), "r.json")
	partial := report + ".partial"
	args := slices.Clip(append(verifyArgs(p, report), p.q4, p.q8))
	defer func(d time.Duration) { saveEvery = d }(saveEvery)
	saveEvery = 0

	// interrupted ends the command when the file of progress is there.
	interrupted := func(t *testing.T, args ...string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		whenKept = func() { cancel() }
		defer func() { whenKept = func() {} }()
		var out, stderr bytes.Buffer
		if code := run(ctx, append([]string{"phi3conv"}, args...), &out, &stderr); code != exitInterrupted || !strings.Contains(stderr.String(), "the same command goes on after ") {
			t.Fatalf("exit %d\n%s", code, stderr.String())
		}
		if _, err := os.Stat(report); !os.IsNotExist(err) {
			t.Fatalf("a report is there: %v", err)
		}
	}
	for _, c := range []struct {
		name         string
		first, again []string
	}{
		{"side by side", nil, nil},
		{"one at a time", []string{"--one-at-a-time"}, []string{"--one-at-a-time"}},
		{"begun side by side", nil, []string{"--one-at-a-time"}},
		{"begun one at a time", []string{"--one-at-a-time"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			interrupted(t, append(args, c.first...)...)
			_, stderr, code := phi3conv(t, append(args, c.again...)...)
			if code != exitOK || !strings.Contains(stderr, "goes on after ") || !strings.Contains(stderr, " of 8 windows") {
				t.Fatalf("exit %d\n%s", code, stderr)
			}
			if !bytes.Equal(read(t, report), want) {
				t.Error("another report")
			}
			if _, err := os.Stat(partial); !os.IsNotExist(err) {
				t.Errorf("progress is left: %v", err)
			}
			if err := os.Remove(report); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("stale", func(t *testing.T) {
		interrupted(t, args...)
		old := read(t, partial)
		for _, c := range []struct {
			why  string
			data []byte
			args []string
		}{
			{"another quantized model: ", old, append(verifyArgs(p, report), p.q8, p.q4)},
			{"it is of 2 models, not 1", old, append(verifyArgs(p, report), p.q4)},
			{"other conventions: ", old, append(args, "--stride", "32")},
			{"computed in another way: ", old, append(args, "--f32")},
			{"another number of windows of tiny-phi3-eval.txt: 3 and 4", old, append(args, "--chunks", "3")},
			{"it is of another part", old, append(args, "--shard", "1/2")},
			{"not a report of verify: unexpected EOF", old[:len(old)-20], args},
			{"its positions are not those", bytes.Replace(old, []byte(`"token":[`), []byte(`"token":[1`), 1), args},
		} {
			write(t, partial, c.data)
			if _, stderr, code := phi3conv(t, c.args...); code != exitOK || !strings.Contains(stderr, "the verification starts anew") || !strings.Contains(stderr, c.why) {
				t.Errorf("%s: exit %d\n%s", c.why, code, stderr)
			}
		}
	})
}

// A program that was killed goes on too.
func TestVerifyKilled(t *testing.T) {
	p := quantized(t)
	want, _ := verified(t, p, p.q4)
	report := filepath.Join(t.TempDir(), "r.json")
	args := append(verifyArgs(p, report), p.q4)
	// With --speed it does not end by itself soon.
	cmd := exec.Command(os.Args[0], append(args, "--speed", "-r", "1000")...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(report + ".partial"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("no progress is kept: %s", stderr.String())
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, stderr, code := phi3conv(t, args...); code != exitOK || !strings.Contains(stderr, "goes on after ") {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if !bytes.Equal(read(t, report), want) {
		t.Error("another report")
	}
}

func TestVerifySpeed(t *testing.T) {
	t.Setenv(asProgram, "1")
	p := quantized(t)
	limits := filepath.Join(t.TempDir(), "limits.yaml")
	write(t, limits, []byte("max-rss: 2GiB\nmax-size: 1MB\nmin-tg: 0.01\n"))
	junit, markdown := filepath.Join(t.TempDir(), "v.xml"), filepath.Join(t.TempDir(), "v.md")
	stdout, stderr, code := phi3conv(t, "verify", p.q4, "--base", p.base, "--text", evalText, "--chunks", "1", "-r", "1", "--json", "--thresholds", limits,
		"--max-bpw", "5.5", "--min-pp", "1e9", "--junit", junit, "--markdown", markdown, "-t", "2")
	var r verify.Report
	if err := json.Unmarshal([]byte(stdout), &r); code != exitFailed || err != nil {
		t.Fatalf("exit %d, %v\n%s", code, err, stderr)
	}
	got := map[string]verify.Outcome{}
	for _, c := range r.Verdict.Checks {
		got[c.Name] = c.Outcome
	}
	if got["max-rss"] != verify.Pass || got["max-size"] != verify.Fail || got["max-bpw"] != verify.Pass || got["min-tg"] != verify.Undecided || got["min-pp"] != verify.Undecided {
		t.Errorf("%+v", r.Verdict)
	}
	s := r.Performance
	if s == nil || s.Base == nil || s.Threads != 2 || s.Bandwidth < 1e8 {
		t.Fatalf("%+v", s)
	}
	for _, m := range []*verify.Speed{s.Base, &s.Quant} {
		if len(m.Runs) != 1 || !(m.PP.Value > 0) || !(m.TG.Value > 0) || m.Load <= 0 || m.RSS < 1<<20 || m.Share <= 0 {
			t.Errorf("%+v", m)
		}
	}
	info, err := os.Stat(p.q4)
	if err != nil || r.Quant.FileBytes != info.Size() || math.Abs(r.Quant.BitsPerWeight-8*float64(r.Quant.Bytes)/2656512) > 1e-9 {
		t.Errorf("%v, %+v", err, r.Quant)
	}
	if r.Base.BitsPerWeight != 16 || r.Base.FileBytes <= r.Base.Bytes {
		t.Errorf("%+v", r.Base)
	}
	if x := string(read(t, junit)); !strings.Contains(x, "limit 977 KiB, measured ") {
		t.Errorf("%s", x)
	}
	for _, want := range []string{"| max-size | fail | 977 KiB |", "Speed, 2 threads"} {
		if md := string(read(t, markdown)); !strings.Contains(md, want) {
			t.Errorf("no %s in\n%s", want, md)
		}
	}
}

func TestVerifySeveral(t *testing.T) {
	p := quantized(t)
	junit := filepath.Join(t.TempDir(), "v.xml")
	args := []string{"verify", p.q4, p.q8, "--base", p.base, "--text", evalText, "-c", "128", "--chunks", "4", "--max-kld", "1e-4", "--junit", junit}
	stdout, stderr, code := phi3conv(t, args...)
	if code != exitFailed {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	for _, want := range []string{"2 models against tiny-phi3\n", "Q4_K_M.gguf  fail ", "Q8_0.gguf    pass ", "== Q8_0.gguf against tiny-phi3 ==", "Pareto front\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	var suites struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Failures int    `xml:"failures,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(read(t, junit), &suites); err != nil || len(suites.Suites) != 2 || suites.Suites[0].Failures != 1 || suites.Suites[1].Failures != 0 {
		t.Errorf("%v: %+v", err, suites)
	}
}

// One NaN weight fails the verification, whatever the limits.
func TestVerifyNaN(t *testing.T) {
	p := quantized(t)
	for what, models := range map[string][2]string{"quantized": {nanModel(t), p.base}, "base": {p.q4, nanModel(t)}} {
		quant, base := models[0], models[1]
		for _, mode := range []string{"--one-at-a-time", "--json"} {
			stdout, stderr, code := phi3conv(t, "verify", quant, "--base", base, "--text", evalText, "-c", "64", "--chunks", "1", mode)
			if code != exitBadInput || stdout != "" ||
				!strings.Contains(stderr, "phi3conv: "+what+" model: tokens 0 to 63 of text 0: ") || !strings.Contains(stderr, "tiny-phi3: the logits behind token 32 are not finite") {
				t.Errorf("%s: exit %d\n%s%s", what, code, stdout, stderr)
			}
		}
	}
}

// nanModel returns a tiny model one of whose norms has a NaN.
func nanModel(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-phi3")
	if err := testdata.WriteTinyPhi3(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	data := read(t, path)
	var header map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	size := int(data[0]) | int(data[1])<<8 | int(data[2])<<16
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+size], &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &header); err != nil {
		t.Fatal(err)
	}
	at := 8 + size + header["model.norm.weight"].Offsets[0]
	data[at], data[at+1] = 0xc0, 0x7f // BF16
	write(t, path, data)
	return dir
}

func TestVerifyFlags(t *testing.T) {
	model := tinyModel(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--shard", "1/2"}, exitUsage, "--shard needs --report"},
		{[]string{"--shard", "3/2", "--report", "x"}, exitUsage, `--shard is "3/2"`},
		{[]string{"--shard", "0/2", "--report", "x"}, exitUsage, `--shard is "0/2"`},
		{[]string{"--shard", "1/2x", "--report", "x"}, exitUsage, `--shard is "1/2x"`},
		{[]string{"--shard", "1/5", "--chunks", "4", "--report", "x"}, exitUsage, "only 4 windows"},
		{[]string{"--max-rss", "much"}, exitUsage, `--max-rss is "much", want a size such as 2GiB`},
		{[]string{"--max-size", "0"}, exitUsage, "--max-size is 0"},
		{[]string{"-r", "0"}, exitUsage, "--repetitions is 0"},
	} {
		args := append([]string{"verify", model, "--base", model, "--text", evalText}, c.args...)
		if _, stderr, code := phi3conv(t, args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "takes the REPORTs"},
		{[]string{"absent"}, exitBadInput, "absent"},
		{[]string{evalText}, exitBadInput, "not a report of verify"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"verify", "merge"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("merge %q: exit %d, expected %d with %q:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
	if got, want := flagsFirst([]string{"p", "verify", "merge", "a", "--json", "b"}, commands()), []string{"p", "verify", "merge", "--json", "a", "b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, expected %q", got, want)
	}
}

// Damage that a text may not show is found and named.
func TestVerifyDamagedHeader(t *testing.T) {
	model := tinyModel(t)
	good := read(t, converted(t, model, "Q8_0"))
	// value returns where the value behind a key and its type begins.
	value := func(key string) int {
		at := bytes.Index(good, []byte(key))
		if at < 0 {
			t.Fatalf("no %s", key)
		}
		return at + len(key) + 4
	}
	for _, c := range []struct {
		name string
		edit func(b []byte)
		want string
	}{
		{"rope_theta", func(b []byte) { binary.LittleEndian.PutUint32(b[value("phi3.rope.freq_base"):], math.Float32bits(5e5)) },
			"another model than the original: phi3.rope.freq_base is 500000, expected 10000"},
		{"EOS", func(b []byte) { b[value("tokenizer.ggml.eos_token_id")] ^= 1 }, "its tokenizer is another than the original's: its EOS is "},
		{"scores", func(b []byte) {
			at := value("tokenizer.ggml.scores") + 4 + 8 + 500*4
			first, second := b[at:at+4], b[at+4:at+8]
			for i := range first {
				first[i], second[i] = second[i], first[i]
			}
		}, "its tokenizer is another than the original's: its merges have the SHA-256 "},
	} {
		path := filepath.Join(t.TempDir(), "damaged.gguf")
		b := bytes.Clone(good)
		c.edit(b)
		write(t, path, b)
		if _, stderr, code := phi3conv(t, "verify", path, "--base", model, "--text", evalText, "-c", "64", "--chunks", "1"); code != exitBadInput || !strings.Contains(stderr, "damaged.gguf: "+c.want) {
			t.Errorf("%s: exit %d\n%s", c.name, code, stderr)
		}
	}
}

// With a seal there is no original to measure, and limits on speed and size hold all the same.
func TestVerifySealSpeed(t *testing.T) {
	t.Setenv(asProgram, "1")
	p := quantized(t)
	seal := filepath.Join(t.TempDir(), "tiny.seal")
	if _, stderr, code := phi3conv(t, "seal", p.base, "--text", evalText, "-c", "64", "--chunks", "2", "-o", seal); code != exitOK {
		t.Fatal(stderr)
	}
	stdout, stderr, code := phi3conv(t, "verify", p.q4, "--seal", seal, "--json", "-r", "1", "--max-rss", "4GiB", "--max-size", "1MB", "--min-top1", "0.1")
	var r verify.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitFailed {
		t.Fatalf("exit %d, %v\n%s", code, err, stderr)
	}
	if v := r.Verdict; len(v.Checks) != 3 || v.Checks[0].Outcome != verify.Pass || v.Checks[1].Outcome != verify.Pass || v.Checks[2].Outcome != verify.Fail {
		t.Errorf("%+v", v)
	}
	if p := r.Performance; p == nil || p.Base != nil || len(p.Quant.Runs) != 1 || p.Quant.RSS < 1<<20 {
		t.Errorf("%+v", p)
	}
	for _, flag := range []string{"--one-at-a-time", "--shard=1/2"} {
		if _, stderr, code := phi3conv(t, "verify", p.q4, "--seal", seal, flag); code != exitUsage || !strings.Contains(stderr, "cannot be used with a seal") {
			t.Errorf("%s: exit %d\n%s", flag, code, stderr)
		}
	}
	if _, stderr, code := phi3conv(t, "verify", p.q4, p.q8, "--seal", seal); code != exitUsage || !strings.Contains(stderr, "takes one QUANT") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
