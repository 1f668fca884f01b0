// Package targets holds every mage target. A target says what it does and calls the packages that do it; nothing below
// this package reads ingot.hcl, knows mage, or says how a person mends what went wrong: that is put on here, in
// remedies.go.
//
// Another repository uses it with one import in its magefile:
//
//	import (
//		//mage:import
//		"github.com/ingot-build/ingot/pkg/targets"
//	)
//
//	var Aliases = map[string]any{"dev": targets.Dev.Up, "local": targets.Local.Up}
package targets
