package machine

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// consoleLines is how much of a console's end Console returns: about the 64 KB that EC2 keeps.
const consoleLines = 800

// Console returns the end of a machine's console, to which its journal goes too, whether it runs or not.
func (e *Engine) Console(ctx context.Context, name string) (string, error) {
	log, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(consoleLines),
	})
	if err != nil {
		return "", explain("read the console of machine", name, err)
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	if err != nil {
		return "", explain("read the console of machine", name, err)
	}
	return plainText(string(text)), nil
}

// escapes match what a terminal acts on instead of showing (ECMA-48 control sequences, and the operating system commands of xterm).
const escapes = `\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[@-Z\\-_cM78=>]`

// cgroupNoise matches what systemd says for every unit on a host with cgroup v1, where it keeps its units in the cgroup v2 hierarchy alone.
const cgroupNoise = `(?m)^.*Failed to (create|attach .* to) compat systemd cgroup .*\n`

func plainText(terminal string) string {
	text := regexp.MustCompile(escapes).ReplaceAllString(terminal, "")
	text = strings.ReplaceAll(text, "\r", "")
	return regexp.MustCompile(cgroupNoise).ReplaceAllString(text, "")
}
