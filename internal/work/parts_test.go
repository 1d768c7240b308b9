package work

import "testing"

func TestCheckParts(t *testing.T) {
	for _, c := range []struct {
		parts []Part
		at    int
		wrong string
	}{
		{nil, 0, ""},
		{[]Part{{1, 1}}, 0, ""},
		{[]Part{{1, 2}, {2, 2}}, 0, ""},
		{[]Part{{1, 2}, {2, 3}}, 1, "a part of 2 and one of 3"},
		{[]Part{{1, 2}, {1, 2}}, 1, "part 1 of 2 is there twice"},
		{[]Part{{2, 2}}, 0, "part 1 of 2 is missing"},
		{[]Part{{1, 3}, {3, 3}}, 1, "part 2 of 3 is missing"},
		{[]Part{{1, 3}, {2, 3}}, 1, "part 3 of 3 is missing"},
	} {
		if at, wrong := CheckParts(c.parts); at != c.at || wrong != c.wrong {
			t.Errorf("%v: %d, %q, expected %d, %q", c.parts, at, wrong, c.at, c.wrong)
		}
	}
}
