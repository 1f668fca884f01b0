package localcloud

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The control service is the cloud's own API, in the JSON protocol like AWS's: it says what the cloud holds, has it fail, and issues the
// tokens of identity providers. It is the administrator's alone.
const (
	controlName   = "ingot"
	controlTarget = "IngotLocalCloud"
)

func (c *cloud) control() wire.Service {
	return wire.Service{
		Name:     controlName,
		Protocol: wire.JSON,
		Target:   controlTarget,
		Actions: map[string]wire.Action{
			"IssueToken": wire.Do(c.issueToken, nil),
			"Ping":       wire.Do(c.ping, nil),
			"SetFaults":  wire.Do(c.setFaults, nil),
			"Status":     wire.Do(c.status, nil),
		},
	}
}

// askRunning is ask for the folder's cloud. It fails with ErrNotRunning, and says what was to be done, where that does not run.
func askRunning(ctx context.Context, stateDir, what, action string, in, out any) error {
	f, err := openFolder(stateDir)
	if err != nil {
		return err
	}
	id, found, err := f.identity()
	if err != nil {
		return err
	}
	if _, ok, err := f.server(); err != nil || !ok || !found {
		return errors.Join(fmt.Errorf("%s: %w", what, ErrNotRunning), err)
	}
	return ask(ctx, id.connection(), action, in, out)
}

// ask calls an action of a running cloud's control service.
func ask(ctx context.Context, c Connection, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", controlTarget+"."+action)
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey}
	err = v4.NewSigner().SignHTTP(ctx, key, req, hex.EncodeToString(hash[:]), controlName, c.Region, time.Now())
	if err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	// A client of its own: a proxy from the environment must not see what is on loopback, and no connection is kept.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	var refused struct{ Message string }
	if resp.StatusCode == http.StatusBadRequest && json.Unmarshal(answer, &refused) == nil {
		return errors.New(refused.Message)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the local cloud: %s: %s", resp.Status, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("ask the local cloud: %w", err)
	}
	return nil
}
