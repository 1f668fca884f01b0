package iam

import (
	"context"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// UserName is the name of the account's one user.
const UserName = "local"

// UserARN returns the ARN of the account's one user.
func (s *Service) UserARN() string { return s.arn("user", "/", UserName) }

// UserID returns the unique ID of the account's one user.
func (s *Service) UserID() string {
	var id string
	s.state.View(func(st state) error {
		id = st.UserID
		return nil
	})
	return id
}

type getUserInput struct {
	UserName string `query:"UserName"`
}

type getUserOutput struct {
	User struct {
		Path       string
		UserName   string
		UserID     string `xml:"UserId"`
		ARN        string `xml:"Arn"`
		CreateDate time.Time
	}
}

func (s *Service) getUser(ctx context.Context, in *getUserInput) (*getUserOutput, error) {
	if _, session := wire.CallerOf(ctx); session && in.UserName == "" {
		return nil, invalid("Must specify userName when calling with non-User credentials")
	}
	if in.UserName != "" && in.UserName != UserName {
		return nil, noSuchEntity("The user with name %s cannot be found.", in.UserName)
	}
	out := &getUserOutput{}
	out.User.Path, out.User.UserName, out.User.ARN = "/", UserName, s.UserARN()
	return out, s.state.View(func(st state) error {
		out.User.UserID, out.User.CreateDate = st.UserID, st.Created
		return nil
	})
}
