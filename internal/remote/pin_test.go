package remote

import "testing"

// What follows a branch of the hub becomes a name that does not; all others stay.
func TestPin(t *testing.T) {
	newHub(t)
	for name, want := range map[string]string{
		"hf://me/model":                             "hf://me/model@" + testCommit,
		"hf://me/model@main/sub/m-Q4_K_M.gguf":      "hf://me/model@" + testCommit + "/sub/m-Q4_K_M.gguf",
		"hf://me/model@" + testCommit:               "hf://me/model@" + testCommit,
		"hf://nobody/none@" + testCommit + "/a.txt": "hf://nobody/none@" + testCommit + "/a.txt",
		"s3://bucket/key":                           "s3://bucket/key",
	} {
		got, err := Pin(t.Context(), name, Options{})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, expected %s", name, got, err, want)
		}
		if again, err := Pin(t.Context(), got, Options{}); err != nil || again != got {
			t.Errorf("%s: %s, %v", got, again, err)
		}
	}
	if got, err := Pin(t.Context(), "hf://me/model@nothing", Options{}); err == nil {
		t.Errorf("a branch that is not there: %s", got)
	}
}
