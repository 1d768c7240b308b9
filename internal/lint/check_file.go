package lint

import (
	"errors"
	"slices"

	"github.com/phi3conv/phi3conv/formats/gguf"
)

// unsupportedVersion and unsupportedType tell apart what the reader refuses: the
// version, which stands at byte 4, from the type of a tensor, which stands later.
func unsupportedVersion(m *model, report reportFunc) {
	if errors.Is(m.broken, gguf.ErrUnsupported) && errorOffset(m.broken) == versionOffset {
		report(errorFile(m.broken, m.path), "%s", errorWhat(m.broken))
	}
}

func unsupportedType(m *model, report reportFunc) {
	if errors.Is(m.broken, gguf.ErrUnsupported) && errorOffset(m.broken) != versionOffset {
		report(errorFile(m.broken, m.path), "%s", errorWhat(m.broken))
	}
}

// versionOffset is where the version stands in a GGUF file.
const versionOffset = 4

// broken makes a check that reports that the weights could not be opened, for
// one of the given reasons, or with no reason given for every other.
func broken(reasons ...error) func(*model, reportFunc) {
	return func(m *model, report reportFunc) {
		known := slices.ContainsFunc(reasons, func(r error) bool { return errors.Is(m.broken, r) })
		if len(reasons) == 0 {
			known = !slices.ContainsFunc(brokenReasons, func(r error) bool { return errors.Is(m.broken, r) })
		}
		if m.broken != nil && known {
			report(errorFile(m.broken, m.path), "%s", errorWhat(m.broken))
		}
	}
}
