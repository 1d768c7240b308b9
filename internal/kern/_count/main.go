// Command _count says how many instructions an arm64 program executes for one generated token, where no such CPU is at
// hand: qemu runs it twice, once with more tokens, and the difference counts, so that opening the model and the prompt
// do not. It needs a C compiler and a qemu-aarch64 with plugins, which Debian's qemu-user has and qemu-user-static has
// not. Run it in internal/kern; models are best .pmap files, which open at once:
//
//	PHI3CONV_CPU=dotprod go run ./_count MODEL
//
// With -exe it does the same with another static program for arm64; {} in its arguments is the number of tokens:
//
//	go run ./_count -exe PROGRAM -products 'gemv|vec_dot' -- MODEL {}
package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ours matches the symbols of products of weights.
const ours = `^(clear|(head|row|codes|few|many|tile)\w+|.*internal/kern\.product\w+)$`

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command() error {
	if len(os.Args) == 5 && os.Args[1] == "run" { // in qemu
		before, err := strconv.Atoi(os.Args[3])
		if err != nil {
			return err
		}
		tokens, err := strconv.Atoi(os.Args[4])
		if err != nil {
			return err
		}
		return run(os.Args[2], before, tokens)
	}
	qemu := flag.String("qemu", "qemu-aarch64", "qemu with plugins")
	cpu := flag.String("cpu", "max", "model of CPU, one of qemu's")
	version := flag.Int("plugin-version", 1, "version of qemu's plugin interface; qemu says which it takes")
	exe := flag.String("exe", "", "another program")
	products := flag.String("products", ours, "regular expression of the functions that multiply weights")
	prompt := flag.Int("prompt", 6, "tokens of the prompt")
	few := flag.Int("few", 4, "tokens of the first run")
	many := flag.Int("many", 8, "tokens of the second run")
	top := flag.Int("top", 25, "functions to print")
	flag.Parse()
	named, err := regexp.Compile(*products)
	if err != nil {
		return err
	}
	if flag.NArg() == 0 || *many <= *few {
		return fmt.Errorf("usage: _count [-few N -many M] MODEL, or -exe PROGRAM ARGUMENTS")
	}
	dir, err := os.MkdirTemp("", "count")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c := &counter{dir: dir, qemu: *qemu, cpu: *cpu, exe: *exe, args: flag.Args()}
	if *exe == "" {
		c.args = []string{"run", flag.Arg(0), strconv.Itoa(*prompt), "{}"}
	}
	if err := c.build(*version); err != nil {
		return err
	}
	if c.functions, err = functions(c.exe); err != nil {
		return err
	}
	counts := map[string]float64{}
	for _, run := range []struct {
		tokens int
		sign   float64
	}{{*few, -1}, {*many, 1}} {
		if err := c.run(run.tokens, run.sign/float64(*many-*few), counts); err != nil {
			return err
		}
	}
	report(counts, named, *top)
	return nil
}

// counter counts the instructions of a program.
type counter struct {
	dir, qemu, cpu, exe string
	args                []string
	functions           []function
}

// build makes the plugin, and this program for arm64 unless another is given.
func (c *counter) build(version int) error {
	commands := [][]string{{"cc", "-O2", "-shared", "-fPIC", fmt.Sprintf("-DPLUGIN_VERSION=%d", version),
		"-o", filepath.Join(c.dir, "count.so"), "_count/plugin/count.c"}}
	if c.exe == "" {
		c.exe = filepath.Join(c.dir, "self")
		commands = append(commands, []string{"go", "build", "-o", c.exe, "./_count"})
	}
	for _, a := range commands {
		build := exec.Command(a[0], a[1:]...)
		build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", a[0], err, out)
		}
	}
	return nil
}

// run runs the program and adds the instructions of each function, times a factor, to counts.
func (c *counter) run(tokens int, factor float64, counts map[string]float64) error {
	log := filepath.Join(c.dir, "log")
	args := []string{"-cpu", c.cpu, "-plugin", filepath.Join(c.dir, "count.so") + ",out=" + log, c.exe}
	for _, a := range c.args {
		args = append(args, strings.ReplaceAll(a, "{}", strconv.Itoa(tokens)))
	}
	qemu := exec.Command(c.qemu, args...)
	// What happens at its own time, measuring forms or collecting garbage, would not be the same in both runs.
	qemu.Env = append(os.Environ(), "PHI3CONV_TUNE=off", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	if out, err := qemu.CombinedOutput(); err != nil {
		return fmt.Errorf("qemu: %w: %s", err, out)
	}
	lines, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	for l := range strings.Lines(string(lines)) {
		var address, instructions, executions uint64
		if _, err := fmt.Sscanf(l, "%x %d %d", &address, &instructions, &executions); err != nil {
			return fmt.Errorf("%q: %w", l, err)
		}
		counts[c.at(address)] += factor * float64(instructions*executions)
	}
	return nil
}

// report prints what a token takes: all, its parts, and the functions that take most.
func report(counts map[string]float64, products *regexp.Regexp, top int) {
	var all, inProducts, scheduler float64
	for name, n := range counts {
		all += n
		switch {
		case products.MatchString(name):
			inProducts += n
		case strings.HasPrefix(name, "runtime."):
			scheduler += n
		}
	}
	fmt.Printf("%14.0f all\n%14.0f products of weights\n", all, inProducts)
	fmt.Printf("%14.0f Go's runtime, much of it by the clock, which qemu does not slow down\n", scheduler)
	fmt.Printf("%14.0f others\n\n", all-inProducts-scheduler)
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	for _, name := range names[:min(top, len(names))] {
		fmt.Printf("%14.0f %s\n", counts[name], name)
	}
}
