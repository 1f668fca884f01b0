// Package ingot holds what Ingot bakes with and builds: its provisioning tree, its Packer templates, its Terraform configuration and its
// workflows, for repositories that use Ingot. A repository's own files lie over these, path by path.
package ingot

import (
	"embed"
	"io/fs"
)

//go:embed all:provision packer/*.hcl packer/plugins/*.hcl terraform/*.tf .github/workflows/ci.yml .github/workflows/deploy.yml
var files embed.FS

// Files are all of them, and the workflows, at their paths in this repository.
func Files() fs.FS { return files }

// Provision are provision.sh and the stages that it runs.
func Provision() fs.FS { return below("provision") }

// Packer are the templates of both images.
func Packer() fs.FS { return below("packer") }

// Terraform is the configuration of the infrastructure.
func Terraform() fs.FS { return below("terraform") }

func below(folder string) fs.FS {
	sub, err := fs.Sub(files, folder)
	if err != nil { // the folders' names are valid
		panic(err)
	}
	return sub
}
