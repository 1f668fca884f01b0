package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// backendFile takes the place of the backend that the configuration names: Terraform merges files of this name last.
	backendFile = "backend_override.tf.json"

	// movedSuffix and the bucket's name follow the name of a local state file whose content went to a bucket.
	movedSuffix = ".moved-to-"
)

// S3 is a place for a state that several machines share. The lock is an object beside the state's, with ".tflock" after
// its key. Endpoint and credentials are the stack's, as for the provider.
type S3 struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Region string `json:"region"` // the bucket's, which may be another one than the stack's
}

// String is the state's URL.
func (b S3) String() string { return "s3://" + b.Bucket + "/" + b.Key }

// override returns the file that makes Terraform use b.
func (b S3) override() ([]byte, error) {
	type s3 struct {
		S3
		Encrypt     bool `json:"encrypt"`
		UseLockfile bool `json:"use_lockfile"`
	}
	return json.MarshalIndent(map[string]any{
		"terraform": map[string]any{"backend": map[string]any{"s3": s3{S3: b, Encrypt: true, UseLockfile: true}}},
	}, "", "  ")
}

// stateFile is what is read of a state.
type stateFile struct {
	Serial    int64             `json:"serial"`  // grows with every change
	Lineage   string            `json:"lineage"` // given when the state began
	Resources []json.RawMessage `json:"resources"`
}

func readState(data []byte) (s stateFile, err error) {
	if len(strings.TrimSpace(string(data))) > 0 {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// MovedStateError refuses to begin a new local state where the old one went to a bucket: everything would be made twice.
type MovedStateError struct {
	Bucket string // where the state is now
	File   string // what is left of the local one; without it a new one would begin
}

// Error says where the state is.
func (e *MovedStateError) Error() string {
	return fmt.Sprintf("the state was moved to the bucket %q", e.Bucket)
}

// StateConflictError refuses to move a local state into a bucket that holds the state of other infrastructure.
type StateConflictError struct {
	File   string // the local state
	Shared string // URL of the one in the bucket
}

// Error names the two.
func (e *StateConflictError) Error() string {
	return fmt.Sprintf("%s and %s both hold infrastructure, and not the same", e.File, e.Shared)
}

// checkMoved returns a *MovedStateError where the state went to a bucket.
func (s *Stack) checkMoved() error {
	if s.StatePath == "" {
		return nil
	}
	moved, err := filepath.Glob(s.StatePath + movedSuffix + "*")
	if err != nil || len(moved) == 0 {
		return err
	}
	bucket := strings.TrimPrefix(moved[0], s.StatePath+movedSuffix)
	return &MovedStateError{Bucket: bucket, File: moved[0]}
}

// moveState puts a state that lies in StatePath into the bucket. It may be stopped anywhere and run again; the local file
// keeps its content under another name. Where both hold infrastructure that differs, nothing is touched and the error wraps a
// *StateConflictError.
func (s *Stack) moveState(ctx context.Context) (err error) {
	if s.StatePath == "" {
		return nil
	}
	data, err := os.ReadFile(s.StatePath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	local, err := readState(data)
	if err != nil {
		return fmt.Errorf("read the state %s: %w", s.StatePath, err)
	}
	stage := progress.Start(ctx, "move the state to %s", s.S3)
	defer stage.End(&err)
	err = s.run(ctx, "state", func(tf *session) error {
		tf.SetStdout(io.Discard) // a state may hold secrets
		text, err := tf.StatePull(ctx)
		if err != nil {
			return err
		}
		shared, err := readState([]byte(text))
		if err != nil {
			return fmt.Errorf("read the state %s: %w", s.S3, err)
		}
		switch {
		case len(local.Resources) == 0, local.Lineage == shared.Lineage && local.Serial <= shared.Serial:
			return nil // nothing to move, or moved by a run that ended before it could say so
		case len(shared.Resources) > 0 && local.Lineage != shared.Lineage:
			return &StateConflictError{File: s.StatePath, Shared: s.S3.String()}
		}
		// Terraform takes a state of another origin only by force, which overwrites nothing here: the shared one is empty.
		force := shared.Lineage != "" && shared.Lineage != local.Lineage
		return tf.StatePush(ctx, s.StatePath, tfexec.Force(force), tfexec.Lock(true), tfexec.LockTimeout(lockTimeout))
	})
	if err != nil {
		return err
	}
	return os.Rename(s.StatePath, s.StatePath+movedSuffix+s.S3.Bucket)
}
