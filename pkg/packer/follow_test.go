package packer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFollow(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		ended, done := make(chan struct{}), make(chan error)
		go func() { done <- Follow(folder, func(step string) { steps = append(steps, step) }, ended) }()
		say := func(text string) {
			t.Helper()
			time.Sleep(time.Second)
			file, err := os.OpenFile(logFile(folder), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err == nil {
				_, err = file.WriteString(text)
				err = errors.Join(err, file.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		say("==> app.amazon-ebs.debian: Waiting for SSH to become available...\n==> app.amazon-ebs.debian: Connected ")
		say("to SSH!\n")
		time.Sleep(time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"waiting for SSH", "connected"}, steps); diff != "" {
			t.Error(diff)
		}
		say("==> app.amazon-ebs.debian: Stopping the source instance...\n")
		close(ended)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"waiting for SSH", "connected", "stopping the instance"}, steps); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFollowWithoutALog(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	if err := Follow(filepath.Join(t.TempDir(), "none"), func(string) {}, ended); err != nil {
		t.Error(err)
	}
}
