package config

import (
	"reflect"
	"time"
)

// tfvarTag is the struct tag that names a field's Terraform variable.
const tfvarTag = "tfvar"

// TerraformVariables returns what the settings say of the stack in terraform/: the value of each field that has a tag
// "tfvar", by the variable that the tag names. Durations are whole seconds.
func (c *Config) TerraformVariables() map[string]any {
	variables := map[string]any{}
	collectVariables(variables, reflect.ValueOf(c).Elem())
	return variables
}

func collectVariables(variables map[string]any, settings reflect.Value) {
	for field, value := range settings.Fields() {
		if name := field.Tag.Get(tfvarTag); name != "" {
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
