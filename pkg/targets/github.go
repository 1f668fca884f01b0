package targets

import (
	"fmt"
	"os"
)

// The files that GitHub Actions reads after a step; elsewhere the variables that name them are not set, and nothing is
// written.
const (
	githubOutput  = "GITHUB_OUTPUT"       // name=value lines: what later steps and jobs get
	githubSummary = "GITHUB_STEP_SUMMARY" // Markdown that the run's page shows, at most 1 MiB a step
)

// setOutput hands a value, of one line, to later steps and jobs of the workflow.
func setOutput(name, value string) error {
	return appendTo(githubOutput, name+"="+value+"\n")
}

// summarize adds Markdown to the page of the workflow's run.
func summarize(markdown string) error {
	return appendTo(githubSummary, markdown+"\n")
}

func appendTo(variable, text string) error {
	path := os.Getenv(variable)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of $%s: %w", variable, err)
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write the file of $%s: %w", variable, err)
	}
	return nil
}

// workflowRun is the URL of the workflow's run that this is a part of; empty elsewhere than in GitHub Actions.
func workflowRun() string {
	run := os.Getenv("GITHUB_RUN_ID")
	if run == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s/actions/runs/%s", os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"), run)
}
