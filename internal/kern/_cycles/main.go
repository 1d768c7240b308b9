// Command _cycles says how many cycles kernels for arm64 take for 256 weights, where no such CPU is at hand. qemu runs a
// product and notes each instruction of the kernels that it executes; llvm-mca's model of a core says how long they take,
// with all data in the first cache. It needs qemu-aarch64-static, and llvm-mca and llvm-objdump of LLVM 19 (others by
// -llvm). Run it in internal/kern:
//
//	go run ./_cycles
//
// With -exe it does the same with functions of another program for arm64, which is run with the arguments that are left:
//
//	go run ./_cycles -exe PROGRAM -functions 'vec_dot_q4_K_q8_K' -weights 131072 ARGUMENTS
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ours matches the symbols of kernels.
const ours = `^(clear|(head|row|codes|few|many|tile)\w+|.*internal/kern\.product\w+)$`

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command() error {
	if len(os.Args) == 5 && os.Args[1] == "run" { // in qemu
		tokens, err := strconv.Atoi(os.Args[4])
		if err != nil {
			return err
		}
		return run(os.Args[2], os.Args[3], tokens)
	}
	cores := flag.String("cores", "neoverse-n1,neoverse-n2,neoverse-v1,neoverse-v2,apple-m1,cortex-a510", "models of llvm-mca")
	formats := flag.String("formats", "Q4_0,Q8_0,Q4_K,Q5_K,Q6_K,IQ4_NL,Table32", "formats of weights")
	sets := flag.String("sets", "dotprod,i8mm", "sets of kernels")
	tokens := flag.String("tokens", "1,4", "tokens that are multiplied with")
	llvm := flag.String("llvm", "19", "version of the LLVM programs")
	exe := flag.String("exe", "", "another program")
	functions := flag.String("functions", "", "regular expression of its functions")
	weights := flag.Int("weights", 0, "weights that it multiplies with")
	flag.Parse()
	dir, err := os.MkdirTemp("", "cycles")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &meter{dir: dir, llvm: *llvm, cores: strings.Split(*cores, ",")}
	fmt.Printf("%-32s %12s", "cycles for 256 weights", "instructions")
	for _, c := range m.cores {
		fmt.Printf(" %11s", c)
	}
	fmt.Println()
	if *exe != "" {
		return m.line(*functions, append([]string{*exe}, flag.Args()...), *functions, *weights)
	}
	self := filepath.Join(dir, "self")
	build := exec.Command("go", "build", "-o", self, "./_cycles")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, f := range strings.Split(*formats, ",") {
		for _, t := range strings.Split(*tokens, ",") {
			for _, s := range strings.Split(*sets, ",") {
				if err := m.line(fmt.Sprintf("%s, %s tokens, %s", f, t, s), []string{self, "run", f, s, t}, ours, runWeights); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// meter counts cycles.
type meter struct {
	dir, llvm string
	cores     []string
}

// line prints a line of the table: what the functions of a command take for each 256 of its weights.
func (m *meter) line(name string, command []string, functions string, weights int) error {
	text, n, err := m.trace(command, functions)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	units := float64(weights) / 256
	fmt.Printf("%-32s %12.1f", name, float64(n)/units)
	for _, core := range m.cores {
		cycles, err := m.cycles(text, core)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf(" %11.1f", cycles/units)
	}
	fmt.Println()
	return nil
}

var (
	symbolLine = regexp.MustCompile(`(?m)^([0-9a-f]+) ([0-9a-f]+) [tTW] (.*)$`)
	codeLine   = regexp.MustCompile(`(?m)^\s*([0-9a-f]+): [0-9a-f]{8}\s+(.*)$`)
	traceLine  = regexp.MustCompile(`(?m)^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/`)
	totalLine  = regexp.MustCompile(`Total Cycles:\s+(\d+)`)
	// llvm-mca knows no jumps. Those of loops cost a slot, others are left out.
	left = regexp.MustCompile(`^(ret|bl|b|blr|br)\b[^.]`)
	// Targets are written as addresses with a name, which its assembler does not read.
	target = regexp.MustCompile(`0x[0-9a-f]+ <.*>`)
)

// trace runs a command in qemu and returns what it executed of some functions as assembly, and how many instructions.
func (m *meter) trace(command []string, functions string) (text string, n int, err error) {
	named, err := regexp.Compile(functions)
	if err != nil {
		return "", 0, err
	}
	symbols, err := exec.Command("llvm-nm-"+m.llvm, "--print-size", "--defined-only", command[0]).Output()
	if err != nil {
		return "", 0, fmt.Errorf("llvm-nm: %w", err)
	}
	var spans, names []string
	for _, s := range symbolLine.FindAllStringSubmatch(string(symbols), -1) {
		if named.MatchString(s[3]) {
			spans = append(spans, fmt.Sprintf("0x%s+0x%s", s[1], s[2]))
			names = append(names, s[3])
		}
	}
	if len(spans) == 0 {
		return "", 0, fmt.Errorf("no function of %s matches %s", command[0], functions)
	}
	listing, err := exec.Command("llvm-objdump-"+m.llvm, "-d", "--mattr=+all", "--disassemble-symbols="+strings.Join(names, ","),
		command[0]).Output()
	if err != nil {
		return "", 0, fmt.Errorf("llvm-objdump: %w", err)
	}
	code := map[string]string{}
	for _, l := range codeLine.FindAllStringSubmatch(string(listing), -1) {
		code[strings.TrimLeft(l[1], "0")] = target.ReplaceAllString(l[2], "#0")
	}
	log := filepath.Join(m.dir, "trace")
	qemu := exec.Command("qemu-aarch64-static", append([]string{"-cpu", "max", "-singlestep", "-d", "exec,nochain",
		"-dfilter", strings.Join(spans, ","), "-D", log}, command...)...)
	if out, err := qemu.CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("qemu: %w: %s", err, out)
	}
	executed, err := os.ReadFile(log)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for _, l := range traceLine.FindAllStringSubmatch(string(executed), -1) {
		ins, ok := code[strings.TrimLeft(l[1], "0")]
		if !ok {
			return "", 0, fmt.Errorf("no instruction is known at %s", l[1])
		}
		n++
		if !left.MatchString(ins + " ") {
			b.WriteString(ins + "\n")
		}
	}
	return b.String(), n, nil
}

// cycles returns how long a core takes for a text.
func (m *meter) cycles(text, core string) (float64, error) {
	mca := exec.Command("llvm-mca-"+m.llvm, "-mtriple=aarch64", "-mcpu="+core, "-mattr=+all", "-iterations=1",
		"-instruction-info=false", "-resource-pressure=false")
	mca.Stdin = strings.NewReader(text)
	var complaint strings.Builder
	mca.Stderr = &complaint
	out, err := mca.Output()
	if err != nil {
		return 0, fmt.Errorf("llvm-mca: %w: %s", err, complaint.String())
	}
	total := totalLine.FindSubmatch(out)
	if total == nil {
		return 0, fmt.Errorf("llvm-mca printed no cycles: %s", complaint.String())
	}
	return strconv.ParseFloat(string(total[1]), 64)
}
