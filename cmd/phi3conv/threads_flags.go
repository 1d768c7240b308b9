package main

import (
	"runtime"

	"github.com/urfave/cli/v2"
)

// threadsFlag is for commands that read files.
func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Value: defaultThreads(),
		Usage: "use `N` threads; does not change the result"}
}

// defaultThreads is the number of CPUs that this process may use.
func defaultThreads() int { return runtime.GOMAXPROCS(0) }

// threads returns the value of threadsFlag.
func threads(c *cli.Context) (int, error) {
	n := c.Int("threads")
	if n < 1 || n > 1024 {
		return 0, usagef("%d threads, expected 1 to 1024", n)
	}
	return n, nil
}

// modelThreadsFlag is for commands that run models. It leaves the number to runtime.Open unless it is set.
func modelThreadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "use `N` threads",
		DefaultText: "the number of physical cores"}
}

// modelThreads returns the value of modelThreadsFlag, 0 if it is not set.
func modelThreads(c *cli.Context) (int, error) {
	if !c.IsSet("threads") {
		return 0, nil
	}
	return threads(c)
}
