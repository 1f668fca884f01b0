package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quantifier is for how many of a key's values a condition has to hold.
type quantifier int

const (
	single quantifier = iota // the key has one value
	forAll
	forAny
)

// condition compares a key's values with those of the document.
type condition struct {
	operator
	name       string // as the document has it
	quantifier quantifier
	ifExists   bool
	key        string
	values     []pattern
}

// operator is how two values are compared.
type operator struct {
	// compare reports whether the request's value is what the document says.
	compare func(want []rune, value string) bool
	// check says what is wrong with a value of a document; nil where all are good.
	check func(value string) error
	// not is for operators that hold where nothing compares.
	not bool
	// null is for the operator that asks whether there is a value.
	null bool
	// text values can have variables, wildcards where the operator takes them.
	text, wildcards bool
}

// findOperator returns the operator of a name without its quantifier and IfExists.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html.
func findOperator(name string) (operator, bool) {
	equal := func(want []rune, value string) bool { return string(want) == value }
	fold := func(want []rune, value string) bool { return strings.EqualFold(string(want), value) }
	like := operator{compare: stringMatch, text: true, wildcards: true}
	arn := operator{compare: arnMatch, text: true, wildcards: true}
	switch name {
	case "StringEquals":
		return operator{compare: equal, text: true}, true
	case "StringNotEquals":
		return operator{compare: equal, text: true, not: true}, true
	case "StringEqualsIgnoreCase":
		return operator{compare: fold, text: true}, true
	case "StringNotEqualsIgnoreCase":
		return operator{compare: fold, text: true, not: true}, true
	case "StringLike", "StringNotLike":
		like.not = name == "StringNotLike"
		return like, true
	case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike":
		arn.not = strings.HasPrefix(name, "ArnNot")
		return arn, true
	case "Bool":
		return operator{compare: fold, check: checkBool}, true
	case "Null":
		return operator{null: true, check: checkBool}, true
	case "IpAddress", "NotIpAddress":
		return operator{compare: inNetwork, check: checkNetwork, not: name == "NotIpAddress"}, true
	}
	if order, ok := strings.CutPrefix(name, "Numeric"); ok {
		return ordered(order, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }, compareNumbers)
	}
	if order, ok := strings.CutPrefix(name, "Date"); ok {
		return ordered(order, parseTime, time.Time.Compare)
	}
	return operator{}, false
}

// ordered returns an operator on what has an order.
func ordered[T any](order string, parse func(string) (T, error), compare func(value, want T) int) (operator, bool) {
	holds, ok := map[string]func(int) bool{
		"Equals":            func(c int) bool { return c == 0 },
		"NotEquals":         func(c int) bool { return c == 0 },
		"LessThan":          func(c int) bool { return c < 0 },
		"LessThanEquals":    func(c int) bool { return c <= 0 },
		"GreaterThan":       func(c int) bool { return c > 0 },
		"GreaterThanEquals": func(c int) bool { return c >= 0 },
	}[order]
	return operator{
		not: order == "NotEquals",
		check: func(value string) error {
			_, err := parse(value)
			return err
		},
		compare: func(want []rune, value string) bool {
			w, err := parse(string(want))
			v, err2 := parse(value)
			return err == nil && err2 == nil && holds(compare(v, w))
		},
	}, ok
}

func compareNumbers(value, want float64) int {
	switch {
	case value < want:
		return -1
	case value > want:
		return 1
	}
	return 0
}

// parseTime reads a time as W3C's profile of ISO 8601 has it, or as seconds since 1970.
func parseTime(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && len(text) > 4 {
		return time.Unix(seconds, 0), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", text)
}

func checkBool(value string) error {
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return fmt.Errorf("%q is neither true nor false", value)
	}
	return nil
}

// network reads a range of addresses, or one address.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

func checkNetwork(value string) error {
	_, err := network(value)
	return err
}

func inNetwork(want []rune, value string) bool {
	n, err := network(string(want))
	a, err2 := netip.ParseAddr(value)
	return err == nil && err2 == nil && n.Contains(a)
}

func (c condition) holds(keys Keys) bool {
	values := keys[c.key]
	switch {
	case c.null:
		absent := len(values) == 0
		return slices.ContainsFunc(c.values, func(p pattern) bool {
			want, _ := p.expand(keys)
			return strings.EqualFold(string(want), strconv.FormatBool(absent))
		})
	case len(values) == 0:
		// What there is no value of is not what the document says: right for an operator that asks for just that. ForAllValues
		// holds where there is nothing to compare.
		return c.quantifier == forAll || c.ifExists || c.not && c.quantifier == single
	}
	holds := func(value string) bool {
		found := slices.ContainsFunc(c.values, func(p pattern) bool {
			want, ok := p.expand(keys)
			return ok && c.compare(want, value)
		})
		return found != c.not
	}
	if c.quantifier == forAny {
		return slices.ContainsFunc(values, holds)
	}
	return !slices.ContainsFunc(values, func(value string) bool { return !holds(value) })
}
