package ami

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/provision"
)

// A run is one attempt to make one image. Everything that it makes on EC2 bears its ID from the start, in the tag
// tag.Run or, where that cannot be, in a name: so whatever becomes of the run, what it left can be found.

const (
	runTime = "20060102-150405"

	// keyPairPrefix and an image's name make the name of the temporary key pair that lets Packer in.
	keyPairPrefix = "ingot-"
)

// NewRun makes up the ID of a run that begins now. IDs sort by time, and no two are alike.
func NewRun(now time.Time) string {
	unique := make([]byte, 3)
	_, _ = rand.Read(unique) // never fails
	return now.UTC().Format(runTime) + "-" + hex.EncodeToString(unique)
}

// Began returns when a run began, which its ID says, and whether it is the ID of a run.
func Began(run string) (time.Time, bool) {
	if !regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{6}$`).MatchString(run) {
		return time.Time{}, false
	}
	began, err := time.Parse(runTime, run[:len(runTime)])
	return began, err == nil
}

// Name is the name of the image that a run makes. EC2 knows it from the moment at which it begins to make the image,
// and tags only later.
func Name(app string, stage provision.Stage, run string) string {
	return strings.Join([]string{app, string(stage), run}, "-")
}

// ParseName takes a name of an application's image apart.
func ParseName(app, name string) (stage provision.Stage, run string, ok bool) {
	rest, ok := strings.CutPrefix(name, app+"-")
	if !ok {
		return "", "", false
	}
	first, run, _ := strings.Cut(rest, "-")
	stage = provision.Stage(first)
	_, ok = Began(run)
	return stage, run, ok && (stage == provision.Base || stage == provision.App)
}
