package config

import (
	"reflect"
	"strings"
	"time"
)

// tfvarTag is the struct tag that names a field's Terraform variable.
const tfvarTag = "tfvar"

// TerraformVariables returns what the settings say of the stack in terraform/: the value of each field that has a tag
// "tfvar", by the variable that the tag names. Durations are whole seconds. Of a setting with "unless zero" the configuration, or a file
// of variables beside it, decides where the settings say nothing.
func (c *Config) TerraformVariables() map[string]any {
	variables := map[string]any{}
	collectVariables(variables, reflect.ValueOf(c).Elem())
	return variables
}

func collectVariables(variables map[string]any, settings reflect.Value) {
	for field, value := range settings.Fields() {
		name, unlessZero, _ := strings.Cut(field.Tag.Get(tfvarTag), ",")
		if name != "" && (unlessZero == "" || !value.IsZero()) {
			variables[name] = variable(value.Interface())
		}
		if value.Kind() == reflect.Pointer && !value.IsNil() {
			collectVariables(variables, value.Elem())
		}
	}
}

func variable(setting any) any {
	if d, ok := setting.(time.Duration); ok {
		return int(d / time.Second)
	}
	return setting
}
