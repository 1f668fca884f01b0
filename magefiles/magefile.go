//go:build mage

// Ingot bakes a service into machine images and rolls them out. "local" in front of a target points the targets after it
// at the cloud on this machine; "mage -h TARGET" says what a target does and needs.
package main

import (
	//mage:import
	"github.com/ingot-build/ingot/pkg/targets"
)

// Aliases maps the bare word to the namespace's first target.
var Aliases = map[string]any{"dev": targets.Dev.Up, "local": targets.Local.Up}
