package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// CloudStatus is what a cloud is and holds.
type CloudStatus struct {
	Running   bool   `json:"running"`
	StateDir  string `json:"state_dir"`
	PID       int    `json:"pid,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	Region    string `json:"region,omitempty"`
	AccountID string `json:"account_id,omitempty"`
	// Shape is [Options.Shape] of the cloud; empty for an account like most.
	Shape string `json:"shape,omitempty"`
	// Faults is what [SetFaults] has set; empty for nothing.
	Faults string `json:"faults,omitempty"`
	// URLs are those of the load balancers' listeners.
	URLs     []string        `json:"urls"`
	Machines []MachineStatus `json:"machines"`
	Images   []ImageStatus   `json:"images"`
}

// MachineStatus is an instance and its machine.
type MachineStatus struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"` // the tag Name
	State string `json:"state"`          // EC2's, such as "running"
	Image string `json:"image"`          // the AMI's ID
	// PrivateAddress and PublicAddress are reachable from this host.
	PrivateAddress string `json:"private_address,omitempty"`
	PublicAddress  string `json:"public_address,omitempty"`
}

// ImageStatus is an AMI.
type ImageStatus struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
}

// Status returns what the folder's cloud is, and, where it runs, what it holds.
func Status(ctx context.Context, stateDir string) (CloudStatus, error) {
	if _, err := os.Stat(stateDir); errors.Is(err, fs.ErrNotExist) {
		return CloudStatus{StateDir: stateDir}, nil
	}
	f, err := openFolder(stateDir)
	if err != nil {
		return CloudStatus{}, err
	}
	status := CloudStatus{StateDir: string(f)}
	id, found, err := f.identity()
	if err != nil || !found {
		return status, err
	}
	running, ok, err := f.server()
	if err != nil {
		return status, err
	}
	if ok {
		if err := ask(ctx, id.connection(), "Status", wire.Empty{}, &status); err != nil {
			return status, err
		}
		status.Running, status.PID = true, running.PID
	}
	status.StateDir, status.Endpoint, status.Region, status.AccountID = string(f), id.connection().Endpoint, id.Region, id.AccountID
	status.Shape = id.Shape
	return status, nil
}

// status asks the services what they hold, as any client does.
func (c *cloud) status(ctx context.Context, _ *wire.Empty) (*CloudStatus, error) {
	s := &CloudStatus{Faults: c.faults.Spec().String(), URLs: []string{}, Machines: []MachineStatus{}, Images: []ImageStatus{}}
	var instances struct {
		Instances []struct {
			ID      string `xml:"instanceId"`
			Image   string `xml:"imageId"`
			State   string `xml:"instanceState>name"`
			Private string `xml:"privateIpAddress"`
			Public  string `xml:"ipAddress"`
			Tags    []struct {
				Key   string `xml:"key"`
				Value string `xml:"value"`
			} `xml:"tagSet>item"`
		} `xml:"reservationSet>item>instancesSet>item"`
	}
	if err := c.server.Invoke(ctx, "ec2", "DescribeInstances", nil, &instances); err != nil {
		return nil, err
	}
	for _, i := range instances.Instances {
		m := MachineStatus{ID: i.ID, State: i.State, Image: i.Image, PrivateAddress: i.Private, PublicAddress: i.Public}
		for _, tag := range i.Tags {
			if tag.Key == "Name" {
				m.Name = tag.Value
			}
		}
		s.Machines = append(s.Machines, m)
	}
	var images describedImages
	if err := c.server.Invoke(ctx, "ec2", "DescribeImages", url.Values{"Owner.1": {"self"}}, &images); err != nil {
		return nil, err
	}
	for _, i := range images.Images {
		s.Images = append(s.Images, ImageStatus{ID: i.ID, Name: i.Name, State: i.State})
	}
	var balancers struct {
		Balancers []struct {
			ARN  string `xml:"LoadBalancerArn"`
			Host string `xml:"DNSName"`
		} `xml:"DescribeLoadBalancersResult>LoadBalancers>member"`
	}
	if err := c.server.Invoke(ctx, "elasticloadbalancing", "DescribeLoadBalancers", nil, &balancers); err != nil {
		return nil, err
	}
	for _, b := range balancers.Balancers {
		var listeners struct {
			Ports []int `xml:"DescribeListenersResult>Listeners>member>Port"`
		}
		parameters := url.Values{"LoadBalancerArn": {b.ARN}}
		if err := c.server.Invoke(ctx, "elasticloadbalancing", "DescribeListeners", parameters, &listeners); err != nil {
			return nil, err
		}
		for _, port := range listeners.Ports {
			s.URLs = append(s.URLs, listenerURL(b.Host, port))
		}
	}
	return s, nil
}

func listenerURL(host string, port int) string {
	if port == 80 {
		return "http://" + host
	}
	return fmt.Sprintf("http://%s:%d", host, port)
}

// describedImages is EC2's answer to DescribeImages.
type describedImages struct {
	Images []describedImage `xml:"imagesSet>item"`
}

type describedImage struct {
	ID      string `xml:"imageId"`
	Name    string `xml:"name"`
	State   string `xml:"imageState"`
	Created string `xml:"creationDate"`
}

// publicParameter resolves the public parameters that Debian publishes for its images.
// See https://wiki.debian.org/Cloud/AmazonEC2Image/Trixie.
func (c *cloud) publicParameter(ctx context.Context, name string) (string, bool, error) {
	architecture, ok := strings.CutPrefix(name, "/aws/service/debian/release/13/latest/")
	if !ok || architecture != "amd64" && architecture != "arm64" {
		return "", false, nil
	}
	var images describedImages
	err := c.server.Invoke(ctx, "ec2", "DescribeImages", url.Values{
		"Owner.1": {debianOwner}, "Filter.1.Name": {"name"}, "Filter.1.Value.1": {"debian-13-" + architecture + "-*"},
	}, &images)
	if err != nil || len(images.Images) == 0 {
		return "", false, err
	}
	latest := slices.MaxFunc(images.Images, func(a, b describedImage) int { return strings.Compare(a.Created, b.Created) })
	return latest.ID, true, nil
}

// debianOwner is the AWS account that publishes Debian's images.
const debianOwner = "136693071363"

func (c *cloud) ping(context.Context, *wire.Empty) (*wire.Empty, error) { return &wire.Empty{}, nil }
