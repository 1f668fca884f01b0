package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/ingot-build/ingot/pkg/pipeline"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	line := pipeline.NewFromConfig(cfg, pipeline.Settings{App: "hello", Root: os.Args[2]})
	do := map[string]func() (pipeline.Result, error){
		"prod":     func() (pipeline.Result, error) { return line.Release(ctx, pipeline.ReleaseOptions{}) },
		"rollback": func() (pipeline.Result, error) { return line.Rollback(ctx, "") },
	}[os.Args[1]]
	result, err := do()
	fmt.Println(result.URL, result.Release.Name, result.Page, err)
}
