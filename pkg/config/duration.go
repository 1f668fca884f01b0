package config

import (
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// duration is a setting that the file has as text, "1m30s", and the Config as a time.Duration.
type duration struct {
	name    string // "rollout.warmup"
	value   *time.Duration
	limit   time.Duration
	example string
}

func (c *Config) durations() []duration {
	return []duration{
		{"service.start_within", &c.Service.StartWithin, time.Hour, "2m"},
		{"rollout.warmup", &c.Rollout.Warmup, time.Hour, "30s"},
		{"rollout.checkpoint_delay", &c.Rollout.CheckpointDelay, maxRolloutDelay, "10m"},
		{"rollout.bake_time", &c.Rollout.BakeTime, maxRolloutDelay, "5m"},
	}
}

// takeDurations returns the texts of the durations that a file sets, by name, and takes them out of its body: gohcl would
// want numbers there.
func (c *Config) takeDurations(body hcl.Body) (texts map[string]string, diags hcl.Diagnostics) {
	texts = map[string]string{}
	root, ok := body.(*hclsyntax.Body)
	if !ok {
		return texts, nil
	}
	for _, d := range c.durations() {
		blockType, name, _ := strings.Cut(d.name, ".")
		for _, block := range root.Blocks {
			attribute := block.Body.Attributes[name]
			if block.Type != blockType || attribute == nil {
				continue
			}
			var text string
			diags = append(diags, gohcl.DecodeExpression(attribute.Expr, nil, &text)...)
			texts[d.name] = text
			delete(block.Body.Attributes, name)
		}
	}
	return texts, diags
}
