package codedeploy

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// application is an application as the store keeps it.
type application struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Tags    map[string]string `json:"tags,omitempty"`
	Groups  map[string]*group `json:"groups"` // by name
}

type applicationInfo struct {
	ID              string     `json:"applicationId"`
	Name            string     `json:"applicationName"`
	ComputePlatform string     `json:"computePlatform"`
	CreateTime      wire.Epoch `json:"createTime"`
	LinkedToGitHub  bool       `json:"linkedToGitHub"`
}

func (a *application) info() *applicationInfo {
	return &applicationInfo{ID: a.ID, Name: a.Name, ComputePlatform: server, CreateTime: wire.Epoch{Time: a.Created}}
}

// server is the compute platform of EC2 and on-premises instances.
const server = "Server"

// validName is what the names of applications and deployment groups are made of.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html.
var validName = regexp.MustCompile(`^[A-Za-z0-9._+=,@-]{1,100}$`)

func checkApplicationName(name string) error {
	if name == "" {
		return wire.Errorf("ApplicationNameRequiredException", "The minimum number of required application names was not specified.")
	}
	if !validName.MatchString(name) {
		return wire.Errorf("InvalidApplicationNameException", "The application name was specified in an invalid format.")
	}
	return nil
}

// application finds an application; the caller holds the lock.
func (s *Service) application(name string) (*application, error) {
	if err := checkApplicationName(name); err != nil {
		return nil, err
	}
	a, ok := s.state.Applications[name]
	if !ok {
		return nil, wire.Errorf("ApplicationDoesNotExistException", "No application found for name: %s", name)
	}
	return a, nil
}

type createApplicationInput struct {
	Name            string `json:"applicationName"`
	ComputePlatform string `json:"computePlatform"`
	Tags            []tag  `json:"tags"`
}

type createApplicationOutput struct {
	ID string `json:"applicationId"`
}

func (s *Service) createApplication(_ context.Context, in *createApplicationInput) (*createApplicationOutput, error) {
	if err := checkApplicationName(in.Name); err != nil {
		return nil, err
	}
	switch in.ComputePlatform {
	case "", server:
	case "Lambda", "ECS":
		return nil, wire.Errorf("InvalidComputePlatformException",
			"The compute platform %s is not available: this local cloud deploys to the compute platform Server.", in.ComputePlatform)
	default:
		return nil, wire.Errorf("InvalidComputePlatformException",
			"The computePlatform is invalid. The computePlatform should be Lambda, Server, or ECS.")
	}
	a := &application{ID: wire.UUID(), Name: in.Name, Created: time.Now().UTC(), Groups: map[string]*group{}}
	return &createApplicationOutput{a.ID}, s.change(func() (err error) {
		if _, exists := s.state.Applications[in.Name]; exists {
			return wire.Errorf("ApplicationAlreadyExistsException", "Application already exists: %s", in.Name)
		}
		if a.Tags, err = setTags(nil, in.Tags, "InvalidTagsToAddException"); err != nil {
			return err
		}
		s.state.Applications[in.Name] = a
		return nil
	})
}

type applicationName struct {
	Name string `json:"applicationName"`
}

type getApplicationOutput struct {
	Application *applicationInfo `json:"application"`
}

func (s *Service) getApplication(_ context.Context, in *applicationName) (*getApplicationOutput, error) {
	var out getApplicationOutput
	return &out, s.locked(func() error {
		a, err := s.application(in.Name)
		if err == nil {
			out.Application = a.info()
		}
		return err
	})
}

// maxBatch is how many names or IDs a batch call may have, as on AWS.
const maxBatch = 100

func checkBatch(n, most int, emptyCode string) error {
	if n == 0 {
		return wire.Errorf(emptyCode, "The request names nothing to get.")
	}
	if n > most {
		return wire.Errorf("BatchLimitExceededException", "The maximum number of names or IDs allowed for this request (%d) was exceeded.", most)
	}
	return nil
}

type listInput struct {
	NextToken string `json:"nextToken"`
}

type listApplicationsOutput struct {
	Names     []string `json:"applications"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *Service) listApplications(_ context.Context, in *listInput) (*listApplicationsOutput, error) {
	var out listApplicationsOutput
	return &out, s.locked(func() (err error) {
		out.Names, out.NextToken, err = page(slices.Sorted(maps.Keys(s.state.Applications)), in.NextToken)
		return err
	})
}

// deleteApplication removes an application with its deployment groups. As on AWS it is no error where there is none.
func (s *Service) deleteApplication(ctx context.Context, in *applicationName) (*wire.Empty, error) {
	if err := checkApplicationName(in.Name); err != nil {
		return nil, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	var names []string
	_ = s.locked(func() error {
		if a := s.state.Applications[in.Name]; a != nil {
			names = slices.Sorted(maps.Keys(a.Groups))
		}
		return nil
	})
	for _, name := range names {
		if _, err := s.removeGroup(in.Name, name); err != nil {
			return nil, err
		}
	}
	return nil, s.change(func() error {
		delete(s.state.Applications, in.Name)
		return nil
	})
}
