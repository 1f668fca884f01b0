package ec2

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// metadataAddress is where every instance finds what is known of it, see
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html.
var metadataAddress = netip.AddrPortFrom(compute.LinkLocal, 80)

const (
	// maxTokenAge is the longest life of a token, as AWS has it.
	maxTokenAge = 6 * time.Hour
	// metadataRetry is the gap between the first attempts to listen in a machine that is just starting or stopping. It doubles until
	// metadataPause: a machine from before there was a metadata service has no address for one.
	metadataRetry = time.Second
	metadataPause = time.Minute
)

// Credentials are what an instance's role has for a while.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Began, Expires                             time.Time
}

// ErrNoRole is what Options.Credentials returns where a profile has no role that EC2 may take on.
var ErrNoRole = errors.New("the instance profile has no role that ec2.amazonaws.com may take on")

// serveMetadata answers an instance for as long as it runs. The caller holds the lock.
func (s *Service) serveMetadata(id string) {
	if s.answering[id] {
		return
	}
	s.answering[id] = true
	s.work.Go(func() {
		server := &http.Server{Handler: s.metadata(id), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
		defer server.Close()
		for pause := metadataRetry; s.keepsAnswering(id); pause = min(2*pause, metadataPause) {
			l, err := s.compute.Listen(s.ctx, id, metadataAddress, s.hopLimit(id))
			if errors.Is(err, compute.ErrUnsupported) {
				return
			}
			if err == nil {
				closes := context.AfterFunc(s.ctx, func() { l.Close() })
				_ = server.Serve(l) // until the machine stops, or the cloud
				closes()
				pause = metadataRetry
			}
			if wait.For(s.ctx, pause) != nil {
				return
			}
		}
	})
}

// keepsAnswering tells whether an instance runs; one that does not is answered no more.
func (s *Service) keepsAnswering(id string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	i := s.state.Instances[id]
	if i != nil && i.State == stateRunning && s.ctx.Err() == nil {
		return true
	}
	delete(s.answering, id)
	return false
}

func (s *Service) hopLimit(id string) int {
	s.document.Lock()
	defer s.document.Unlock()
	if i := s.state.Instances[id]; i != nil {
		return i.Metadata.HopLimit
	}
	return 1
}

// metadata answers an instance's questions about itself.
func (s *Service) metadata(id string) http.Handler {
	var key [32]byte
	_, _ = rand.Read(key[:])
	return &metadataServer{s, id, key[:]}
}

type metadataServer struct {
	service *Service
	id      string
	key     []byte // signs the instance's tokens
}

// The headers of IMDSv2.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ageHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// rolePath is where an instance finds its role.
const rolePath = "meta-data/iam"

// versionPath matches a path of the service: the latest version or one by its date.
var versionPath = regexp.MustCompile(`^/(latest|1\.0|20\d\d-\d\d-\d\d)(/.*)?$`)

// ServeHTTP answers as IMDS does.
func (m *metadataServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	i, groups, ok := m.service.instanceOf(m.id)
	if !ok || i.Metadata.Endpoint != "enabled" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.URL.Path == "/latest/api/token" {
		m.giveToken(w, r)
		return
	}
	token := r.Header.Get(tokenHeader)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case token == "" && i.Metadata.Tokens == "required", token != "" && !m.valid(token):
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/":
		fmt.Fprint(w, "1.0\nlatest")
	default:
		path := versionPath.FindStringSubmatch(r.URL.Path)
		if path == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		m.answer(w, r.Context(), i, groups, strings.Trim(path[2], "/"))
	}
}

// giveToken makes a token, which needs no place to be kept in: it says until when it holds, signed.
func (m *metadataServer) giveToken(w http.ResponseWriter, r *http.Request) {
	age, err := strconv.Atoi(r.Header.Get(ageHeader))
	switch {
	case r.Method != http.MethodPut:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.Header.Get("X-Forwarded-For") != "": // a proxy that was made to ask for somebody else
		w.WriteHeader(http.StatusForbidden)
	case err != nil || age < 1 || age > int(maxTokenAge/time.Second):
		w.WriteHeader(http.StatusBadRequest)
	default:
		until := strconv.FormatInt(time.Now().Add(time.Duration(age)*time.Second).UnixNano(), 36)
		w.Header().Set(ageHeader, strconv.Itoa(age))
		fmt.Fprint(w, base64.RawURLEncoding.EncodeToString(append(m.sign(until), until...)))
	}
}

func (m *metadataServer) sign(text string) []byte {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (m *metadataServer) valid(token string) bool {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) < sha256.Size || !hmac.Equal(data[:sha256.Size], m.sign(string(data[sha256.Size:]))) {
		return false
	}
	until, err := strconv.ParseInt(string(data[sha256.Size:]), 36, 64)
	return err == nil && time.Now().Before(time.Unix(0, until))
}

// instanceOf returns a copy of an instance and the names of its security groups.
func (s *Service) instanceOf(id string) (i instance, groups []string, ok bool) {
	s.document.Lock()
	defer s.document.Unlock()
	found := s.state.Instances[id]
	if found == nil {
		return instance{}, nil, false
	}
	i = *found
	i.Tags = slices.Clone(found.Tags)
	for _, g := range i.Groups {
		if group := s.state.Groups[g]; group != nil {
			groups = append(groups, group.Name)
		}
	}
	return i, groups, true
}

// answer writes what is at a path, or the names of what is below it.
func (m *metadataServer) answer(w http.ResponseWriter, ctx context.Context, i instance, groups []string, path string) {
	leaves, err := m.leaves(ctx, i, groups, path)
	if err != nil {
		m.service.log.Error("answer an instance about itself", "instance", m.id, "path", path, "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if text, ok := leaves[path]; ok {
		fmt.Fprint(w, text)
		return
	}
	below := map[string]bool{}
	for leaf := range leaves {
		name, ok := strings.CutPrefix(leaf, path+"/")
		if path == "" {
			name, ok = leaf, true
		}
		if first, _, more := strings.Cut(name, "/"); ok && more {
			below[first+"/"] = true
		} else if ok {
			below[first] = true
		}
	}
	if len(below) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, strings.Join(slices.Sorted(maps.Keys(below)), "\n"))
}

// leaves are the texts by their paths, as of version latest. Those of the instance's role, which begin a session of it, are there for
// the paths that lead to them.
func (m *metadataServer) leaves(ctx context.Context, i instance, groups []string, path string) (map[string]string, error) {
	s := m.service
	document, err := json.MarshalIndent(map[string]any{
		"accountId": s.account, "architecture": i.Architecture, "availabilityZone": i.Zone, "billingProducts": nil, "devpayProductCodes": nil,
		"marketplaceProductCodes": nil, "imageId": i.ImageID, "instanceId": i.ID, "instanceType": i.Type, "kernelId": nil,
		"pendingTime": i.Launched.UTC().Format(time.RFC3339), "privateIp": i.PrivateIP.String(), "ramdiskId": nil, "region": s.region, "version": "2017-09-30",
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	leaves := map[string]string{"dynamic/instance-identity/document": string(document)}
	if i.UserData != "" {
		data, err := base64.StdEncoding.DecodeString(i.UserData)
		if err != nil {
			return nil, err
		}
		leaves["user-data"] = string(data)
	}
	set := func(path, text string) { leaves["meta-data/"+path] = text }
	for path, text := range map[string]string{
		"ami-id": i.ImageID, "ami-launch-index": strconv.Itoa(i.Index), "ami-manifest-path": "(unknown)", "hostname": i.ID, "instance-action": "none",
		"instance-id": i.ID, "instance-life-cycle": "on-demand", "instance-type": i.Type, "local-hostname": i.ID, "local-ipv4": i.PrivateIP.String(),
		"mac": i.Interface.MAC, "placement/availability-zone": i.Zone, "placement/region": s.region, "profile": "default-hvm",
		"reservation-id": i.ReservationID, "security-groups": strings.Join(groups, "\n"), "services/domain": "amazonaws.com", "services/partition": "aws",
		"block-device-mapping/ami": strings.TrimPrefix(i.rootDevice(), "/dev/"), "block-device-mapping/root": i.rootDevice(),
	} {
		set(path, text)
	}
	network := "network/interfaces/macs/" + i.Interface.MAC + "/"
	for path, text := range map[string]string{
		"device-number": "0", "interface-id": i.Interface.ID, "local-ipv4s": i.PrivateIP.String(), "mac": i.Interface.MAC, "owner-id": s.account,
		"security-group-ids": strings.Join(i.Groups, "\n"), "security-groups": strings.Join(groups, "\n"), "subnet-id": i.SubnetID, "vpc-id": i.VPCID,
	} {
		set(network+path, text)
	}
	if i.PublicIP.IsValid() {
		set("public-ipv4", i.PublicIP.String())
		set(network+"public-ipv4s", i.PublicIP.String())
	}
	if i.KeyName != "" && len(i.PublicKeys) > 0 {
		set("public-keys/0/openssh-key", i.PublicKeys[0])
	}
	if i.Metadata.InstanceTags == "enabled" {
		for _, t := range i.Tags {
			set("tags/instance/"+t.Key, t.Value)
		}
	}
	if i.Profile == nil || s.credentials == nil || !strings.HasPrefix(path, rolePath) && !strings.HasPrefix(rolePath, path) {
		return leaves, nil
	}
	return leaves, m.addRole(ctx, i, set)
}

// addRole adds the role of an instance's profile and credentials for it.
func (m *metadataServer) addRole(ctx context.Context, i instance, set func(path, text string)) error {
	role, c, err := m.service.credentials(ctx, i.Profile.ARN, i.ID)
	if errors.Is(err, ErrNoRole) {
		return nil
	}
	if err != nil {
		return err
	}
	updated := c.Began.UTC().Format(time.RFC3339)
	info, err := json.MarshalIndent(map[string]string{
		"Code": "Success", "LastUpdated": updated, "InstanceProfileArn": i.Profile.ARN, "InstanceProfileId": i.Profile.ID,
	}, "", "  ")
	if err != nil {
		return err
	}
	credentials, err := json.MarshalIndent(map[string]string{
		"Code": "Success", "LastUpdated": updated, "Type": "AWS-HMAC", "AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey,
		"Token": c.SessionToken, "Expiration": c.Expires.UTC().Format(time.RFC3339),
	}, "", "  ")
	set("iam/info", string(info))
	set("iam/security-credentials/"+role, string(credentials))
	return err
}
