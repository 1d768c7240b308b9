package arch

import "strings"

// wrappers are modules of tools that leave their names in those of the tensors that they wrap, anywhere in them:
// torch.compile, FSDP, activation checkpointing.
var wrappers = []string{"_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."}

// wrapperPrefixes are beginnings of names and what they stand for: of DDP and PEFT, and of a model within another one.
var wrapperPrefixes = []struct{ from, to string }{
	{"module.", ""},
	{"base_model.model.", ""},
	{"model.language_model.", "model."},
	{"language_model.model.", "model."},
	{"language_model.lm_head.", "lm_head."},
	{"model.model.", "model."},
	{"model.lm_head.", "lm_head."},
}

// Unwrap takes from a tensor's name in a checkpoint what tools wrapped around it, and returns what that was, such as
// "_orig_mod.", "" for nothing.
func Unwrap(name string) (bare, wrapper string) {
	for again := true; again; {
		again = false
		for _, w := range wrappers {
			if strings.HasPrefix(name, w) || strings.Contains(name, "."+w) {
				name, again = strings.Replace(name, w, "", 1), true
				wrapper += w
			}
		}
		for _, p := range wrapperPrefixes {
			if rest, ok := strings.CutPrefix(name, p.from); ok {
				name, again = p.to+rest, true
				wrapper += p.from
			}
		}
	}
	return name, wrapper
}
