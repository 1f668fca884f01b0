package packer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// additions are settings of one build that the templates leave out: they are no part of what an image is known by.
type additions struct {
	kmsKey           string
	unlimitedCredits bool
}

// renderTemplates writes templates into a folder, with the settings that only newer versions accept, and
// those of the build.
func renderTemplates(from fs.FS, to string, c capabilities, a additions) error {
	names, err := fs.Glob(from, "*.pkr.hcl")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("there is no template, *.pkr.hcl")
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		source, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		rendered, err := render(name, source, c, a)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), rendered, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// render adds to every amazon-ebs source what its version of Packer can do, or the build wants, and the source does not say.
func render(name string, source []byte, c capabilities, a additions) ([]byte, error) {
	file, problems := hclwrite.ParseConfig(source, name, hcl.InitialPos)
	if problems.HasErrors() {
		return nil, problems
	}
	for _, block := range file.Body().Blocks() {
		if block.Type() != "source" || len(block.Labels()) == 0 || block.Labels()[0] != "amazon-ebs" {
			continue
		}
		body := block.Body()
		if c.ed25519 && body.GetAttribute("temporary_key_pair_type") == nil {
			body.SetAttributeValue("temporary_key_pair_type", cty.StringVal("ed25519"))
		}
		if c.unlimitedCredits && a.unlimitedCredits && body.GetAttribute("enable_unlimited_credits") == nil {
			body.SetAttributeValue("enable_unlimited_credits", cty.True)
		}
		for _, device := range body.Blocks() {
			if a.kmsKey != "" && device.Type() == "launch_block_device_mappings" && device.Body().GetAttribute("kms_key_id") == nil {
				device.Body().SetAttributeValue("kms_key_id", cty.StringVal(a.kmsKey))
			}
		}
		if c.metadataOptions && body.FirstMatchingBlock("metadata_options", nil) == nil {
			options := body.AppendNewBlock("metadata_options", nil).Body()
			options.SetAttributeValue("http_endpoint", cty.StringVal("enabled"))
			options.SetAttributeValue("http_tokens", cty.StringVal("required"))
			options.SetAttributeValue("http_put_response_hop_limit", cty.NumberIntVal(1))
		}
	}
	return file.Bytes(), nil
}
