package targets

import (
	"context"
	"fmt"
	"os"

	"github.com/ingot-build/ingot"
	"github.com/ingot-build/ingot/internal/owned"
	"github.com/ingot-build/ingot/internal/scaffold"
)

// Init begins with Ingot in a repository: writes ingot.hcl, a magefile, and what else the service wants.
//
// Looks what the service is, says what it took it for, and where there is none writes a small one. Keeps every file that is there. With
// -eject=PATH it writes the file of Ingot's at that path instead, such as provision/app/app.sh or .github/workflows/ci.yml, or all below
// a folder: from then on it is yours, and counts instead of Ingot's; mage diff says how it differs.
func Init(ctx context.Context,
	app *string, // the application's name; the folder's by default
	eject *string, // path of a file or a folder of Ingot's
) error {
	options := scaffold.Options{Root: ".", Out: os.Stderr}
	if app != nil {
		options.App = *app
	}
	if eject != nil {
		return inRoot(ctx, func(root string) error { return owned.Eject(ingot.Files(), root, *eject, os.Stderr) })
	}
	return scaffold.Init(ctx, options)
}

// Diff shows which of Ingot's files this repository has as its own, and how those differ from Ingot's of this version.
func Diff(ctx context.Context) error {
	return inRoot(ctx, func(root string) error {
		text, same, err := owned.Diff(ingot.Files(), root)
		fmt.Fprint(os.Stdout, text)
		for _, name := range same {
			fmt.Fprintf(os.Stderr, "%s is as Ingot's: without it nothing changes\n", name)
		}
		return err
	})
}

// inRoot calls a function with the folder of the nearest ingot.hcl.
func inRoot(ctx context.Context, do func(root string) error) error {
	return run(ctx, func(_ context.Context, p *project) error { return do(p.Root) })
}
