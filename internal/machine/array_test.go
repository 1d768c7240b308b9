package machine

import "testing"

func TestArrayIndex(t *testing.T) {
	names := []string{
		"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP",
		"JOB_COMPLETION_INDEX", "JOB_COMPLETIONS",
	}
	for _, c := range []struct {
		values        [6]string
		index, number int
		ok            bool
	}{
		{[6]string{}, 0, 0, false},
		{[6]string{"0", "0", "4", "1"}, 0, 4, true},
		{[6]string{"3", "1", "3", "1"}, 2, 3, true},   // --array=1-3
		{[6]string{"12", "10", "3", "2"}, 1, 3, true}, // --array=10-14:2
		{[6]string{4: "2"}, 2, 0, true},
		{[6]string{4: "2", 5: "3"}, 2, 3, true},
		{[6]string{4: "two"}, 0, 0, false},
	} {
		for i, name := range names {
			t.Setenv(name, c.values[i])
		}
		index, number, ok := ArrayIndex()
		if index != c.index || number != c.number || ok != c.ok {
			t.Errorf("%v: %d of %d, %v", c.values, index, number, ok)
		}
	}
}
