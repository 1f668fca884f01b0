package targets

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/agext/levenshtein"
)

// checkArguments looks at all of this process's command line, once, before its first target does anything: mage reads a target's arguments
// only when the ones before it have run.
var checkArguments = sync.OnceValue(func() error {
	path, err := os.Executable()
	if err != nil {
		return nil // then mage says what is wrong, later
	}
	c := commandLine{
		help: func(target string) (string, bool) {
			out, err := exec.CommandContext(context.Background(), path, "-h", target).Output()
			return string(out), err == nil
		},
		list: func() string {
			out, _ := exec.CommandContext(context.Background(), path, "-l").Output()
			return string(out)
		},
	}
	target, err := c.check(os.Args[1:])
	if target == "" {
		return err
	}
	return syscall.Exec(path, []string{os.Args[0], "-h", target}, os.Environ())
})

// commandLine knows the targets by what mage says of them.
type commandLine struct {
	help func(target string) (text string, ok bool)
	list func() string
}

var (
	usageLine = regexp.MustCompile(`(?m)^Usage:\n\n\t\S+ \S+(.*)$`)
	required  = regexp.MustCompile(`(?:^| )<(\w+)>`)
	flagUsage = regexp.MustCompile(`(?m)^\t-(\w+)=<([\w.]+)>`)
	listed    = regexp.MustCompile(`(?m)^  ([\w:]+)\*?(?:, [\w:, ]+)? `)
)

// check checks targets with their arguments. Where help is asked for, it returns the target to be helped with.
func (c commandLine) check(args []string) (helpWith string, err error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") { // mage's own
		if args[0] == "-t" && len(args) > 1 {
			args = args[1:]
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return "", nil // mage knows as much
	}
	for len(args) > 0 {
		name := args[0]
		target := name
		text, ok := c.help(target)
		if !ok { // the bare word of a namespace
			target += ":up"
			text, ok = c.help(target)
		}
		if !ok {
			return "", fmt.Errorf("there is no target %q%s", name, c.suggest(name))
		}
		if helpWith, args, err = checkTarget(name, text, args[1:]); helpWith != "" {
			return target, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// checkTarget checks the arguments of a target, and returns those that belong to the targets after it.
func checkTarget(name, help string, args []string) (helpWith string, rest []string, err error) {
	var wanted []string
	if m := usageLine.FindStringSubmatch(help); m != nil {
		for _, r := range required.FindAllStringSubmatch(m[1], -1) {
			if r[1] != "flags" {
				wanted = append(wanted, strings.ToUpper(r[1]))
			}
		}
	}
	kinds := map[string]string{}
	var flags []string
	for _, f := range flagUsage.FindAllStringSubmatch(help, -1) {
		kinds[strings.ToLower(f[1])] = f[2]
		flags = append(flags, "-"+f[1])
	}
	isHelp := func(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }
	for i, want := range wanted { // they come before the flags
		switch {
		case len(args) > i && isHelp(args[i]):
			return name, nil, nil
		case len(args) <= i || strings.HasPrefix(args[i], "-"):
			return "", nil, fmt.Errorf("%s wants %s after it", name, want)
		}
	}
	for args = args[len(wanted):]; len(args) > 0 && strings.HasPrefix(args[0], "-"); args = args[1:] {
		if isHelp(args[0]) {
			return name, nil, nil
		}
		flag, value, given := strings.Cut(args[0][1:], "=")
		kind, known := kinds[strings.ToLower(flag)]
		_, notBool := strconv.ParseBool(value)
		switch {
		case !known && len(flags) == 0:
			return "", nil, fmt.Errorf("%s takes no flag, and so not %s", name, args[0])
		case !known:
			return "", nil, fmt.Errorf("%s takes no flag -%s; it has %s", name, flag, strings.Join(flags, ", "))
		case kind != "bool" && value == "":
			return "", nil, fmt.Errorf("the flag -%s of %s has no value: -%s=VALUE", flag, name, flag)
		case kind == "bool" && given && notBool != nil:
			return "", nil, fmt.Errorf("the flag -%s of %s is %q: want true or false", flag, name, value)
		}
	}
	return "", args, nil
}

// suggest is the end of an error about a target that there is not.
func (c commandLine) suggest(name string) string {
	best, distance := "", len(name)/3+1 // a letter in three may be wrong
	for _, m := range listed.FindAllStringSubmatch(c.list(), -1) {
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(m[1]), nil); d <= distance {
			best, distance = m[1], d-1
		}
	}
	if best == "" {
		return "; mage -l lists them"
	}
	return fmt.Sprintf(": did you mean %s?", best)
}
