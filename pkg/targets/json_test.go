package targets

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// TestJSONNames: all that -json prints has names in snake_case.
func TestJSONNames(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var check func(at string, of reflect.Type)
	check = func(at string, of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() || seen[of] {
			return
		}
		seen[of] = true
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case !field.IsExported() || name == "-":
			case field.Anonymous && name == "":
				check(at, field.Type)
			case !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(name):
				t.Errorf("%s.%s is called %q", at, field.Name, name)
			default:
				check(at+"."+name, field.Type)
			}
		}
	}
	for name, of := range map[string]reflect.Type{
		"status": reflect.TypeFor[rollout.Status](), "releases": reflect.TypeFor[rollout.Pointer](), "prod": reflect.TypeFor[pipeline.Result](),
		"local:status": reflect.TypeFor[localStatus](), "doctor": reflect.TypeFor[examination](), "deployments": reflect.TypeFor[codedeploy.Deployment](),
		"app": reflect.TypeFor[bakedImage](), "url": reflect.TypeFor[serving](),
	} {
		check(name, of)
	}
}
