// Package awsenv hands an AWS configuration to another program: the credentials, the region and the endpoints that were
// resolved here, as environment variables. So a program that knows fewer kinds of credentials than the SDK, or that would
// find others, works in the same account: SSO, "aws login", a credential process, roles of instances and containers.
package awsenv

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
)

// cleared are the variables from which an SDK takes credentials, or a profile that has some.
var cleared = [...]string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
	"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
}

// Share returns the environment variables that give a program the credentials, the region and the endpoints of cfg, as
// KEY=VALUE pairs to be added to the environment of this process. SDKs take an empty value for an unset variable. The
// caller calls stop when the program has ended.
//
// Credentials that do not expire are in the variables themselves. Others are served on loopback until stop is called, as
// containers get theirs: each time the program needs new ones it gets them, so that it may run for longer than a session
// lives. Where this process is killed and the program goes on, it keeps what it got last, to the end of that session or
// five minutes before it, which some SDKs keep as a reserve: in variables they would live no longer. The program then sees
// no profiles, as the default one's credentials would go before.
func Share(ctx context.Context, cfg aws.Config) (env []string, stop func(), err error) {
	variables, stop := map[string]string{}, func() {}
	if cfg.Credentials != nil {
		credentials, err := cfg.Credentials.Retrieve(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("get AWS credentials: %w", err)
		}
		for _, name := range cleared {
			variables[name] = ""
		}
		if credentials.CanExpire {
			if stop, err = serve(cfg.Credentials, variables); err != nil {
				return nil, nil, fmt.Errorf("serve AWS credentials: %w", err)
			}
		} else {
			variables["AWS_ACCESS_KEY_ID"] = credentials.AccessKeyID
			variables["AWS_SECRET_ACCESS_KEY"] = credentials.SecretAccessKey
			variables["AWS_SESSION_TOKEN"] = credentials.SessionToken
		}
	}
	if cfg.Region != "" {
		variables["AWS_REGION"], variables["AWS_DEFAULT_REGION"] = cfg.Region, cfg.Region
	}
	maps.Copy(variables, endpoints(cfg, os.LookupEnv))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env, stop, nil
}

// endpoints are the variables that name the endpoints of a configuration. Those that the environment has for single
// services are left as they are.
func endpoints(cfg aws.Config, lookup func(string) (string, bool)) map[string]string {
	variables := map[string]string{}
	if cfg.BaseEndpoint != nil {
		variables["AWS_ENDPOINT_URL"] = *cfg.BaseEndpoint
	}
	for _, source := range cfg.ConfigSources {
		profile, ok := source.(awsconfig.SharedConfig)
		if !ok || profile.IgnoreConfiguredEndpoints != nil && *profile.IgnoreConfiguredEndpoints {
			continue
		}
		for service, values := range profile.Services.ServiceValues {
			name := "AWS_ENDPOINT_URL_" + strings.ToUpper(strings.ReplaceAll(service, " ", "_"))
			if _, set := lookup(name); !set && values["endpoint_url"] != "" {
				variables[name] = values["endpoint_url"]
			}
		}
	}
	return variables
}

// answerLimit bounds how long one request for credentials may take: a process or a sign-in service may be behind it.
const answerLimit = time.Minute

// serve serves the credentials of a provider on loopback, in the form that SDKs know from containers, see
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html. It sets the variables that lead there.
func serve(provider aws.CredentialsProvider, variables map[string]string) (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	server := &http.Server{Handler: handler{provider, token}, ReadHeaderTimeout: answerLimit, WriteTimeout: 2 * answerLimit}
	go func() { _ = server.Serve(listener) }() // ends with Close
	variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://" + listener.Addr().String() + "/"
	variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token
	variables["AWS_CONFIG_FILE"], variables["AWS_SHARED_CREDENTIALS_FILE"] = os.DevNull, os.DevNull
	return func() { _ = server.Close() }, nil
}

// handler answers who knows the token with the present credentials.
type handler struct {
	provider aws.CredentialsProvider
	token    string
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(h.token)) != 1 {
		answer(w, http.StatusForbidden, map[string]string{"code": "Forbidden", "message": "this is not for you"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
	defer cancel()
	c, err := h.provider.Retrieve(ctx)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"code": "CredentialsNotRefreshed", "message": err.Error()})
		return
	}
	said := map[string]string{"AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken}
	if c.CanExpire {
		said["Expiration"] = c.Expires.UTC().Format(time.RFC3339)
	}
	answer(w, http.StatusOK, said)
}

func answer(w http.ResponseWriter, code int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}
