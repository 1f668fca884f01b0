package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Runes of an expanded pattern that stand for others. No text has them.
const (
	anyText rune = -1 - iota // an asterisk
	anyRune                  // a question mark
)

// pattern is a text with wildcards and variables.
type pattern []part

// part is a literal text, a wildcard, or a variable.
type part struct {
	literal  string
	wildcard rune // 0 for none
	variable string
	fallback *string // of a variable that a request does not have
}

// maxVariable is how long the name of a variable can be: it bounds messages.
const maxVariable = 256

// parsePattern reads a pattern. Without wildcards an asterisk stands for itself, without variables a dollar sign does.
func parsePattern(text string, wildcards, variables bool, vocabulary Vocabulary) (pattern, error) {
	var p pattern
	literal := func(s string) {
		if n := len(p); n > 0 && p[n-1].wildcard == 0 && p[n-1].variable == "" {
			p[n-1].literal += s
			return
		}
		p = append(p, part{literal: s})
	}
	for text != "" {
		rest, isVariable := strings.CutPrefix(text, "${")
		switch {
		case variables && isVariable:
			inside, after, closed := strings.Cut(rest, "}")
			if !closed || len(inside) > maxVariable {
				return nil, fmt.Errorf("a variable does not end")
			}
			text = after
			if inside == "*" || inside == "?" || inside == "$" {
				literal(inside)
				continue
			}
			v, err := parseVariable(inside, vocabulary)
			if err != nil {
				return nil, err
			}
			p = append(p, v)
		case wildcards && text[0] == '*':
			p, text = append(p, part{wildcard: anyText}), text[1:]
		case wildcards && text[0] == '?':
			p, text = append(p, part{wildcard: anyRune}), text[1:]
		default:
			literal(text[:1])
			text = text[1:]
		}
	}
	return p, nil
}

// parseVariable reads what is between the braces: a condition key, and after a comma a text in its place.
func parseVariable(inside string, vocabulary Vocabulary) (part, error) {
	key, fallback, given := strings.Cut(inside, ",")
	v := part{variable: Name(strings.TrimSpace(key))}
	many, known := vocabulary(v.variable)
	if !known || many || v.variable == "" {
		return v, fmt.Errorf("there is no variable ${%s}", inside)
	}
	if given {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return v, fmt.Errorf("the default value in ${%s} is not in single quotes", inside)
		}
		v.fallback = new(fallback[1 : len(fallback)-1])
	}
	return v, nil
}

// expand puts the values in the place of variables. A statement with a variable that the request has no value for does not apply.
func (p pattern) expand(keys Keys) ([]rune, bool) {
	var expanded []rune
	for _, part := range p {
		switch values := keys[part.variable]; {
		case part.wildcard != 0:
			expanded = append(expanded, part.wildcard)
		case part.variable == "":
			expanded = append(expanded, []rune(part.literal)...)
		case len(values) == 1:
			expanded = append(expanded, []rune(values[0])...) // its asterisks stand for themselves
		case len(values) == 0 && part.fallback != nil:
			expanded = append(expanded, []rune(*part.fallback)...)
		default:
			return nil, false
		}
	}
	return expanded, true
}

// stringMatch reports whether the text is what the pattern says.
func stringMatch(p []rune, text string) bool { return match(p, []rune(text)) }

// match takes time that grows with the product of the lengths at most: a wildcard is tried again from the last one on only.
func match(p, text []rune) bool {
	i, j := 0, 0
	star, from := -1, 0
	for j < len(text) {
		switch {
		case i < len(p) && p[i] == anyText:
			star, from = i, j
			i++
		case i < len(p) && (p[i] == anyRune || p[i] == text[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anyText {
		i++
	}
	return i == len(p)
}

// arnParts is how many parts an ARN has; colons after that belong to the last one.
const arnParts = 6

// arnMatch compares ARNs part by part, so that an asterisk stands for nothing beyond a colon, but in the last part. An asterisk
// alone stands for every resource.
func arnMatch(p []rune, text string) bool {
	if len(p) == 1 && p[0] == anyText {
		return true
	}
	patterns, texts := splitARN(p), splitARN([]rune(text))
	return len(patterns) == arnParts && len(texts) == arnParts && !slices.ContainsFunc([]int{0, 1, 2, 3, 4, 5}, func(n int) bool {
		return !match(patterns[n], texts[n])
	})
}

func splitARN(arn []rune) [][]rune {
	var parts [][]rune
	for len(parts) < arnParts-1 {
		end := slices.Index(arn, ':')
		if end < 0 {
			break
		}
		parts, arn = append(parts, arn[:end]), arn[end+1:]
	}
	return append(parts, arn)
}
