package targets

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
)

const (
	// failureLines is how much of a script's output a listing shows of each failure.
	failureLines = 5

	// failureInstances is of how many instances: on the others the same fails, as a rule. With -json there are all.
	failureInstances = 3
)

// show prints a result as JSON where that is asked for, and otherwise for people.
func show[T any](w io.Writer, asJSON *bool, result T, print func(io.Writer, T) error) error {
	if !value(asJSON) {
		return print(w, result)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}

// printLine prints a result on a line of its own, unless there was an error.
func printLine(w io.Writer, line string, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(w, line)
	}
	return err
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func printStatus(w io.Writer, s rollout.Status) error {
	if s.Current == nil {
		fmt.Fprintln(w, "no release yet")
	} else {
		fmt.Fprintf(w, "release %s, image %s, commit %s, since %s\n", s.Current.Release, s.Current.AMIID, s.Current.Commit, s.Current.Since.Format(time.DateTime))
	}
	fmt.Fprintf(w, "%s: %d of %d–%d instances, launch template version %s\n", s.Fleet.Group, s.Fleet.Desired, s.Fleet.Min, s.Fleet.Max, s.Fleet.TemplateVersion)
	if s.Refresh != nil {
		fmt.Fprintf(w, "%s: %s\n", s.Refresh, s.Refresh.Progress())
	}
	if s.Fleet.URL != "" {
		fmt.Fprintln(w, s.Fleet.URL)
	}
	if len(s.Fleet.Instances) == 0 {
		return nil
	}
	t := table(w)
	fmt.Fprintln(t, "\nINSTANCE\tZONE\tRELEASE\tVERSION\tLIFECYCLE\tHEALTH\tTARGET\tREASON")
	for _, i := range s.Fleet.Instances {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Zone, i.Release, i.TemplateVersion, i.Lifecycle, i.Health, i.Target, i.Reason)
	}
	return t.Flush()
}

func printReleases(w io.Writer, releases []rollout.Pointer) error {
	t := table(w)
	fmt.Fprintln(t, "RELEASE\tSINCE\tIMAGE\tVERSION\tCOMMIT\t")
	for i, r := range releases {
		live := ""
		if i == 0 {
			live = "live"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Release, r.Since.Format(time.DateTime), r.AMIID, r.TemplateVersion, r.Commit, live)
	}
	return t.Flush()
}

func printDeployments(w io.Writer, deployments []codedeploy.Deployment) error {
	t := table(w)
	fmt.Fprintln(t, "DEPLOYMENT\tSTATUS\tBY\tBEGAN\tTOOK\tFOR")
	for _, d := range deployments {
		took := ""
		if !d.End.IsZero() {
			took = d.End.Sub(d.Begin).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Status, d.Creator, d.Begin.UTC().Format(time.DateTime), took, d.Description)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range deployments {
		if d.Code != "" || len(d.Failures) > 0 {
			printFailures(w, d)
		}
	}
	return nil
}

// printFailures prints why a deployment ended badly.
func printFailures(w io.Writer, d codedeploy.Deployment) {
	fmt.Fprintf(w, "\n%s: %s\n", d.ID, strings.Trim(d.Code+": "+d.Message, ": "))
	for i, f := range d.Failures {
		if i == failureInstances {
			fmt.Fprintf(w, "  and %d more\n", len(d.Failures)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", f.Summary())
		for _, line := range f.LastLines(failureLines) {
			fmt.Fprintf(w, "    %s\n", line)
		}
	}
}

func printLeftovers(w io.Writer, left []bake.Leftover) error {
	t := table(w)
	fmt.Fprintln(t, "KIND\tID\tRUN\tAGE\tWHY")
	for _, l := range left {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Kind, l.ID, l.Run, progress.Elapsed(time.Since(l.Began)), l.Why)
	}
	return t.Flush()
}

func printPhases(w io.Writer, phases []progress.Phase, total time.Duration) error {
	t := table(w)
	fmt.Fprintln(t, "PHASE\tTIME")
	for _, phase := range phases {
		if phase.Depth == 0 {
			fmt.Fprintf(t, "%s\t%s\n", phase.Name, progress.Elapsed(phase.Elapsed))
		}
	}
	fmt.Fprintf(t, "all\t%s\n", progress.Elapsed(total))
	return t.Flush()
}

func printCloud(w io.Writer, s localStatus) error {
	if !s.Running {
		fmt.Fprintln(w, "the local cloud does not run; mage local starts it")
		return printSaved(w, s.Saved)
	}
	fmt.Fprintf(w, "%s, region %s, account %s\n", s.Endpoint, s.Region, s.AccountID)
	if s.Shape != "" {
		fmt.Fprintf(w, "shape: %s\n", s.Shape)
	}
	if s.Faults != "" {
		fmt.Fprintf(w, "fails on request: %s\n", s.Faults)
	}
	for _, url := range s.URLs {
		fmt.Fprintln(w, url)
	}
	t := table(w)
	fmt.Fprintln(t, "\nMACHINE\tNAME\tSTATE\tIMAGE\tPRIVATE\tPUBLIC")
	for _, m := range s.Machines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Name, m.State, m.Image, m.PrivateAddress, m.PublicAddress)
	}
	fmt.Fprintln(t, "\nIMAGE\tNAME\tSTATE")
	for _, i := range s.Images {
		fmt.Fprintf(t, "%s\t%s\t%s\n", i.ID, i.Name, i.State)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printSaved(w, s.Saved)
}

func printSaved(w io.Writer, all []savedCloud) error {
	if len(all) == 0 {
		return nil
	}
	t := table(w)
	fmt.Fprintln(t, "\nSAVED AS\tACCOUNT\tREGION\tTIME")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.AccountID, s.Region, s.Saved.Local().Format(time.DateTime))
	}
	return t.Flush()
}
