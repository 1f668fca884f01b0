package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// A field of type time.Duration is a setting that is written as text: gohcl alone would want nanoseconds.
func TestDurationsAreAll(t *testing.T) {
	c := Default()
	known := map[string]*time.Duration{}
	for _, d := range c.durations() {
		known[d.name] = d.value
	}
	fields := 0
	for blockField, block := range reflect.ValueOf(c).Elem().Fields() {
		if block.Kind() != reflect.Pointer {
			continue
		}
		for field, value := range block.Elem().Fields() {
			if field.Type != reflect.TypeFor[time.Duration]() {
				continue
			}
			fields++
			blockName, _, _ := strings.Cut(blockField.Tag.Get("hcl"), ",")
			name, _, _ := strings.Cut(field.Tag.Get("hcl"), ",")
			if known[blockName+"."+name] != value.Addr().Interface().(*time.Duration) {
				t.Errorf("%s.%s is not among the durations", blockName, name)
			}
		}
	}
	if fields != len(known) {
		t.Errorf("%d fields are durations, and %d are known", fields, len(known))
	}
}
