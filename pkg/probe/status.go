package probe

import (
	"fmt"
	"strconv"
	"strings"
)

// Statuses are HTTP statuses, as ranges. None at all, the zero value, are those from 200 to 399.
type Statuses []StatusRange

// StatusRange is a range of HTTP statuses, both ends included.
type StatusRange struct{ From, To int }

// Has tells whether a status is one of them.
func (s Statuses) Has(status int) bool {
	if s == nil {
		s = Statuses{{200, 399}}
	}
	for _, r := range s {
		if r.From <= status && status <= r.To {
			return true
		}
	}
	return false
}

// ParseStatuses reads statuses and ranges of them with commas between, as load balancers write them: "200,300-399".
func ParseStatuses(text string) (Statuses, error) {
	var all Statuses
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
			return nil, fmt.Errorf("parse HTTP statuses %q: %q is neither a status from 100 to 599 nor a range of them", text, part)
		}
		all = append(all, StatusRange{int(from), int(to)})
	}
	return all, nil
}
