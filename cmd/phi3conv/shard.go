package main

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/urfave/cli/v2"
)

// shardFlag asks for a part of what is to be done. It sets to, if it is not nil.
func shardFlag(usage string, to *string) cli.Flag {
	return &cli.StringFlag{Name: "shard", Destination: to,
		Usage: usage + "; auto in an array of Slurm or an Indexed Job of Kubernetes"}
}

// shard returns which part of how many a --shard asks for, from 1; of 0 if it is not set.
func shard(text string) (i, n int, err error) {
	switch text {
	case "":
		return 0, 0, nil
	case "auto":
		return autoShard()
	}
	var rest string
	if k, _ := fmt.Sscanf(text, "%d/%d%s", &i, &n, &rest); k != 2 || i < 1 || i > n {
		return 0, 0, usagef("--shard is %q, expected the number of a part and how many there are, such as 1/4, or auto",
			text)
	}
	return i, n, nil
}

// autoShard returns the part that a cluster's engine gives to this process.
func autoShard() (i, n int, err error) {
	index, n, ok := machine.ArrayIndex()
	switch {
	case !ok:
		return 0, 0, usagef("--shard auto: there is neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX: " +
			"this is no array of Slurm and no Indexed Job of Kubernetes; give a part such as 1/4")
	case n == 0:
		return 0, 0, usagef("--shard auto: this is index %d, but of how many is not said: "+
			"set JOB_COMPLETIONS to the Job's completions, or SLURM_ARRAY_TASK_COUNT to the size of the array", index)
	case index >= n:
		return 0, 0, usagef("--shard auto: this is part %d of %d: the array must be numbers that follow each other, "+
			"such as --array=0-%d", index+1, n, n-1)
	}
	return index + 1, n, nil
}
