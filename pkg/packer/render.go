package packer

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// renderTemplates copies the templates in one folder into another, with the settings that only newer versions accept.
func renderTemplates(from, to string, c Capabilities) error {
	names, err := filepath.Glob(filepath.Join(from, "*.pkr.hcl"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%q holds no *.pkr.hcl", from)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rendered, err := render(name, source, c)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), rendered, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// render adds to every amazon-ebs source what its version of Packer can do and the source does not say.
func render(name string, source []byte, c Capabilities) ([]byte, error) {
	file, problems := hclwrite.ParseConfig(source, name, hcl.InitialPos)
	if problems.HasErrors() {
		return nil, problems
	}
	for _, block := range file.Body().Blocks() {
		if block.Type() != "source" || len(block.Labels()) == 0 || block.Labels()[0] != "amazon-ebs" {
			continue
		}
		body := block.Body()
		if c.Ed25519 && body.GetAttribute("temporary_key_pair_type") == nil {
			body.SetAttributeValue("temporary_key_pair_type", cty.StringVal("ed25519"))
		}
		if c.MetadataOptions && body.FirstMatchingBlock("metadata_options", nil) == nil {
			options := body.AppendNewBlock("metadata_options", nil).Body()
			options.SetAttributeValue("http_endpoint", cty.StringVal("enabled"))
			options.SetAttributeValue("http_tokens", cty.StringVal("required"))
			options.SetAttributeValue("http_put_response_hop_limit", cty.NumberIntVal(1))
		}
	}
	return file.Bytes(), nil
}
