package machine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// What can go wrong with an engine, a machine or an image. Errors wrap these, and add the subject.
var (
	ErrNoEngine   = errors.New("no Docker engine answers")
	ErrSlowEngine = errors.New("the Docker engine has not answered")
	ErrNoCgroups  = errors.New("the Docker engine has no control groups to give, which systemd in a machine needs: have systemd start it (systemctl --user start docker)")
	ErrNotFound   = errors.New("there is no such machine")
	ErrExists     = errors.New("there is one of that name already")
	ErrNotRunning = errors.New("the machine does not run")
	ErrNoImage    = errors.New("there is no such image")
	ErrImageInUse = errors.New("a machine uses the image")
	ErrPortTaken  = errors.New("the port is taken")
	ErrNoSpace    = errors.New("the engine's disk is full: free some with docker system df and docker image prune")
	ErrNoSubnet   = errors.New("the engine has no subnet left for a network: remove unused ones with docker network prune")
	ErrNoMaker    = errors.New("no registry answers, and mmdebstrap is missing")
)

// explain wraps an error of the engine: "operation "subject": what it means: what the engine said".
func explain(operation, subject string, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("%s %q", operation, subject)
	if kind := classify(err); kind != nil {
		return fmt.Errorf("%s: %w (%s)", what, kind, oneLine(err))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// classify names the sentinel that an error of the engine stands for, or nil. The engine tells most of them apart by their
// text alone.
func classify(err error) error {
	text := strings.ToLower(err.Error())
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case client.IsErrConnectionFailed(err):
		return ErrNoEngine
	case has("no space left on device"):
		return ErrNoSpace
	case has("port is already allocated", "address already in use", "ports are not available"):
		return ErrPortTaken
	case has("non-overlapping ipv4 address pool", "all predefined address pools"):
		return ErrNoSubnet
	case has("no such image"), errdefs.IsNotFound(err) && has("image"):
		return ErrNoImage
	case has("is already in use by container", "already exists"):
		return ErrExists
	case errdefs.IsConflict(err) && has("image is being used", "is using its referenced image", "dependent child images"):
		return ErrImageInUse
	case has("is not running"):
		return ErrNotRunning
	case errdefs.IsNotFound(err):
		return ErrNotFound
	}
	return nil
}

// oneLine is an error's text on one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
