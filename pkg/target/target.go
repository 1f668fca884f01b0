// Package target holds every mage target. A target says what it does and calls the packages that do it; nothing below
// this package reads ingot.hcl or knows mage.
//
// Another repository uses it with one import in its magefile:
//
//	import (
//		//mage:import
//		"github.com/ingot-build/ingot/pkg/target"
//	)
//
//	var Aliases = map[string]any{"dev": target.Dev.Up, "local": target.Local.Up}
package target
