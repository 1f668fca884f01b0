package tail

import "testing"

func TestBuffer(t *testing.T) {
	b := &Buffer{Limit: 4}
	for _, step := range []struct{ write, want string }{
		{"abc", "abc"}, {"", "abc"}, {"defg", "defg"}, {"hi", "fghi"}, {"jklmn", "klmn"}, {"a longer one", " one"},
	} {
		if n, err := b.Write([]byte(step.write)); n != len(step.write) || err != nil {
			t.Errorf("Write(%q) = %d, %v", step.write, n, err)
		}
		if got := b.String(); got != step.want {
			t.Errorf("after %q: %q, want %q", step.write, got, step.want)
		}
	}
}
