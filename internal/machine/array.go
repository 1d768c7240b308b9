package machine

import (
	"os"
	"strconv"
)

// ArrayIndex returns which of how many processes of a cluster's job this one is, from 0, as the engine says it in the
// environment: Slurm for arrays, which may begin at any number and leave some out evenly, Kubernetes for Indexed Jobs.
// The number is 0 where the engine does not say it: Kubernetes does not, so JOB_COMPLETIONS is read, which "batch emit"
// sets. ok is false elsewhere.
func ArrayIndex() (index, number int, ok bool) {
	value := func(name string) int {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	if id := value("SLURM_ARRAY_TASK_ID"); id >= 0 {
		index = max(0, id-max(0, value("SLURM_ARRAY_TASK_MIN"))) / max(1, value("SLURM_ARRAY_TASK_STEP"))
		return index, max(0, value("SLURM_ARRAY_TASK_COUNT")), true
	}
	if index := value("JOB_COMPLETION_INDEX"); index >= 0 {
		return index, max(0, value("JOB_COMPLETIONS")), true
	}
	return 0, 0, false
}
