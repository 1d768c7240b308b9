package main

import (
	"runtime"

	"github.com/urfave/cli/v2"
)

// threadsFlag is for commands that read files.
func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Value: defaultThreads(),
		Usage: "use `N` threads; does not change the result"}
}

// defaultThreads is the number of CPUs that this process may use.
func defaultThreads() int { return runtime.GOMAXPROCS(0) }

// threads checks the value of --threads.
func threads(n int) (int, error) {
	if n < 1 || n > 1024 {
		return 0, usagef("--threads is %d, expected 1 to 1024", n)
	}
	return n, nil
}

// modelThreadsFlag is for commands that run models. It leaves the number to runtime.Open unless it is given.
func modelThreadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "use `N` threads",
		DefaultText: "the number of physical cores"}
}

// modelThreads checks the value of modelThreadsFlag. It is 0 if the flag is not given.
func modelThreads(n int, given bool) (int, error) {
	if !given {
		return 0, nil
	}
	return threads(n)
}
