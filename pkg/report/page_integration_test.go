//go:build integration

package report

import (
	"context"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// browser is a command that opens pages without a screen.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("chromium is missing; run: mage test")
	}
	t.Skip("chromium is missing; install it to have the report's page looked at")
	return ""
}

// measure, in a page around the report's, writes down what the browser made of it.
const measure = `<!doctype html><body><iframe id=f style="width:%WIDTH%px;height:900px;border:0" srcdoc="%PAGE%"></iframe><script>
f.onload = () => {
  const d = f.contentDocument, root = d.documentElement;
  const drawn = [...d.querySelectorAll('rect.bar, path.bar')].filter(e => e.getBoundingClientRect().width > 0);
  const out = document.createElement('pre');
  out.textContent = 'bars=' + drawn.length + ' colours=' + new Set(drawn.map(e => getComputedStyle(e).fill)).size +
    ' wider=' + (root.scrollWidth - root.clientWidth) + ' scripts=' + d.scripts.length;
  document.body.replaceChildren(out);
};
</script>`

// TestIntegrationReportPage opens the page in a browser, as wide as a desktop and as a phone: the timeline is drawn, with a
// bar for every state of every instance, and nothing has to be scrolled sideways.
func TestIntegrationReportPage(t *testing.T) {
	command := browser(t)
	measured := regexp.MustCompile(`bars=(\d+) colours=(\d+) wider=(-?\d+) scripts=(\d+)`)
	for name, make := range map[string]func() story{"good": good, "bad": bad, "large": large} {
		r := play(t, make())
		spans := 0
		for _, i := range r.Instances {
			spans += len(i.Spans)
		}
		_, page, err := r.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, width := range []string{"1280", "390"} {
			t.Run(name+" "+width, func(t *testing.T) {
				fill := map[string]string{"%WIDTH%": width, "%PAGE%": html.EscapeString(string(source))}
				around := regexp.MustCompile(`%[A-Z]+%`).ReplaceAllStringFunc(measure, func(key string) string { return fill[key] })
				file := filepath.Join(t.TempDir(), "around.html")
				if err := os.WriteFile(file, []byte(around), 0o644); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				dom, err := exec.CommandContext(ctx, command, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
					"--window-size=1400,1000", "--virtual-time-budget=10000", "--dump-dom", "file://"+file).Output()
				if err != nil {
					t.Fatalf("open the page: %v", err)
				}
				m := measured.FindStringSubmatch(string(dom))
				if m == nil {
					t.Fatalf("the browser measured nothing:\n%.2000s", dom)
				}
				bars, few := m[1], spans <= 100
				t.Logf("%s, of %d spans", m[0], spans)
				if few && bars != strconv.Itoa(spans) || !few && (bars == "0" || bars == strconv.Itoa(spans)) {
					t.Errorf("%s bars are drawn for %d spans", bars, spans)
				}
				if colours, _ := strconv.Atoi(m[2]); colours < 3 || m[3] != "0" || m[4] != "0" {
					t.Errorf("%s: want at least three colours, nothing wider than the page, and no script", m[0])
				}
			})
		}
	}
}
