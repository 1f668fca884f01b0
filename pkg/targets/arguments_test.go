package targets

import (
	"strings"
	"testing"
)

func TestCheckArguments(t *testing.T) {
	c := commandLine{
		help: func(target string) (string, bool) {
			text, ok := map[string]string{
				"prod":       "Prod rolls out.\n\nUsage:\n\n\tmage prod [<flags>]\n\nFlags:\n\n\t-image=<string>            this one\n\t-wait=<bool>               queue\n\n",
				"sweep":      "Sweep shows.\n\nUsage:\n\n\tmage sweep [<flags>]\n\nFlags:\n\n\t-yes=<bool>             remove\n\t-older=<time.Duration>  this old\n\t-n=<int>  n\n\t-f=<float64>  f\n\n",
				"base":       "Base bakes.\n\nUsage:\n\n\tmage base\n\n",
				"local:up":   "Up points.\n\nUsage:\n\n\tmage local:up\n\nAliases: local\n\n",
				"local:save": "Save saves.\n\nUsage:\n\n\tmage local:save <name> [-delete=<bool>]\n\nFlags:\n\n\t-delete=<bool>  remove\n\n",
			}[target]
			return text, ok
		},
		list: func() string {
			return "Targets:\n  base            bakes.\n  local:save      saves.\n  prod, release   rolls out.\n"
		},
	}
	for line, want := range map[string]struct{ help, err string }{
		"":                                       {},
		"no-such-target":                         {}, // mage says so itself
		"local prod":                             {},
		"-v -t 5m local prod -wait":              {},
		"prod -image=ami-1 -wait=true":           {},
		"local sweep -older=1s -yes -n=3 -f=0.5": {},
		"local:save name":                        {},
		"prod -WAIT":                             {},
		"local:save name -delete=1 prod":         {},
		"base --help":                            {help: "base"},
		"local base -h":                          {help: "base"},
		"local -help base":                       {help: "local:up"},
		"local:save -help":                       {help: "local:save"},
		"local url statsu":                       {err: `there is no target "url"; mage -l lists them`},
		"local prdo":                             {err: `there is no target "prdo": did you mean prod?`},
		"local Loacl:save":                       {err: `there is no target "Loacl:save": did you mean local:save?`},
		"base -json":                             {err: "base takes no flag, and so not -json"},
		"base -json=true prod":                   {err: "base takes no flag, and so not -json=true"},
		"prod -wait -json":                       {err: "prod takes no flag -json; it has -image, -wait"},
		"prod -image=":                           {err: "the flag -image of prod has no value: -image=VALUE"},
		"prod -image ami-1":                      {err: "the flag -image of prod has no value: -image=VALUE"},
		"prod -wait=perhaps":                     {err: `the flag -wait of prod is "perhaps": want true or false`},
		"local local:save":                       {err: "local:save wants NAME after it"},
		"local:save -delete name":                {err: "local:save wants NAME after it"},
		"prod --wait":                            {err: "prod takes no flag --wait; it has -image, -wait"},
		"local:save -delete":                     {err: "local:save wants NAME after it"},
		"local:save name another":                {err: `there is no target "another"; mage -l lists them`},
	} {
		help, err := c.check(strings.Fields(line))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if help != want.help || text != want.err {
			t.Errorf("%q: help %q, %q; want %q, %q", line, help, text, want.help, want.err)
		}
	}
}
