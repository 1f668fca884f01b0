package packer

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/internal/lines"
)

// lastLines is how much of what was said before a failure an error shows: enough for a compiler's message.
const lastLines = 15

// output reads what Packer says, tells its steps, and remembers what matters when the build fails.
type output struct {
	lines.Writer
	progress func(step string)
	said     func(line string) // by the script; may be nil
	last     []string          // of the present provisioner, or before the clean-up began
	cleaning bool
	reason   []string
	reading  bool // the lines of the reason follow
	over     bool // the builds have ended; a summary follows

	outOfMemory bool // something said that it, or what it ran, was killed for want of memory
}

// killed is how the go command, a shell, the kernel and Go's runtime say that there was not enough memory.
var killed = regexp.MustCompile(`: signal: killed$|line \d+:\s+\d+ Killed\b|\boom-kill\b|\bOut of memory: Killed process|^fatal error: runtime: out of memory|\bcannot allocate memory$`)

func newOutput(progress func(string)) *output {
	if progress == nil {
		progress = func(string) {}
	}
	o := &output{progress: progress}
	o.Each = o.line
	return o
}

// failure returns why the build failed, in Packer's words, and what was said before that. A build that never began has only a reason.
func (o *output) failure() (reason string, last []string) {
	o.Flush()
	if o.reason == nil {
		return strings.Join(o.last, "\n"), nil
	}
	for _, line := range o.last {
		// Packer says its reason twice.
		if !slices.ContainsFunc(o.reason, func(r string) bool { return strings.TrimSpace(r) == strings.TrimSpace(line) }) {
			last = append(last, line)
		}
	}
	return strings.TrimSpace(strings.Join(o.reason, "\n")), last
}

// line takes one line: "==> base.amazon-ebs.debian: Creating AMI …" from Packer or a script's standard error, "    base.amazon-ebs.debian: …"
// from a script's standard output, or one about the build as a whole.
func (o *output) line(line string) {
	if found := regexp.MustCompile(`^Build '[^']+' errored(?: after [^:]*)?: (.*)$`).FindStringSubmatch(line); found != nil {
		o.reason, o.reading = []string{found[1]}, true
		return
	}
	if strings.HasPrefix(line, "==> Wait completed") || strings.HasPrefix(line, "==> Builds finished") {
		o.over = true
	}
	if o.over {
		return
	}
	if o.reading {
		o.reason = append(o.reason, line)
		return
	}
	found := regexp.MustCompile(`^(?:==>|   ) ([\w.-]+): ?(.*)$`).FindStringSubmatch(line)
	if found == nil {
		// Errors of the templates come before the first build and have no prefix.
		o.remember(line)
		return
	}
	text := found[2]
	step, begins, cleans := parseStep(text)
	if step != "" && strings.HasPrefix(line, "==>") {
		o.progress(step)
		if begins && !o.cleaning {
			o.last = nil
		}
		o.cleaning = o.cleaning || cleans
	}
	if step == "" {
		o.remember(text)
		if o.said != nil {
			o.said(text)
		}
	}
}

func (o *output) remember(line string) {
	line = strings.TrimRight(line, " \t")
	if o.cleaning || line == "" {
		return
	}
	o.outOfMemory = o.outOfMemory || killed.MatchString(line)
	o.last = append(o.last, line)
	if len(o.last) > lastLines {
		o.last = o.last[1:]
	}
}

// parseStep recognises what Packer says about its own doing. A step that begins something makes what was said before it
// uninteresting; with one that cleans up, a failed build has said what it had to say.
func parseStep(text string) (step string, begins, cleans bool) {
	for _, known := range []struct {
		prefix, step   string
		begins, cleans bool
	}{
		{prefix: "Prevalidating", step: "checking the AMI name"},
		{prefix: "Creating temporary keypair", step: "creating a key pair"},
		{prefix: "Creating temporary security group", step: "creating a security group"},
		{prefix: "Authorizing access", step: "opening port 22"},
		{prefix: "Launching a source AWS instance", step: "launching an instance", begins: true},
		{prefix: "Waiting for instance", step: "waiting for the instance", begins: true},
		{prefix: "Using ", step: "waiting for SSH"},
		{prefix: "Waiting for SSH", step: "waiting for SSH", begins: true},
		{prefix: "Connected to SSH", step: "connected", begins: true},
		{prefix: "Uploading", step: "uploading", begins: true},
		{prefix: "Provisioning with shell script", step: "provisioning", begins: true},
		{prefix: "Stopping the source instance", step: "stopping the instance", begins: true},
		{prefix: "Waiting for the instance to stop", step: "stopping the instance", begins: true},
		{prefix: "Creating AMI tags", step: "tagging", begins: true},
		{prefix: "Creating snapshot tags", step: "tagging", begins: true},
		{prefix: "Creating AMI", step: "creating the AMI", begins: true},
		{prefix: "Creating unencrypted AMI", step: "creating the AMI", begins: true},
		{prefix: "Waiting for AMI to become ready", step: "waiting for the AMI", begins: true},
		{prefix: "Adding tags to AMI", step: "tagging", begins: true},
		{prefix: "Provisioning step had errors", step: "cleaning up", cleans: true},
		{prefix: "Step \"", step: "cleaning up", cleans: true},
		{prefix: "Cancelling build", step: "cleaning up", cleans: true},
		{prefix: "Terminating the source AWS instance", step: "cleaning up", cleans: true},
		{prefix: "Cleaning up any extra volumes", step: "cleaning up", cleans: true},
		{prefix: "Deleting temporary", step: "cleaning up", cleans: true},
	} {
		if strings.HasPrefix(text, known.prefix) {
			return known.step, known.begins, known.cleans
		}
	}
	return "", false, false
}
