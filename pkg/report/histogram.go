package report

import (
	"math"
	"time"
)

const (
	// quickest and slowest bound what a histogram tells apart: an answer over loopback takes longer than the one, and
	// every request is given up before the other.
	quickest = 50 * time.Microsecond
	slowest  = 2 * time.Minute

	// growth is the width of a class of a histogram: its quantiles are right to within 1 %.
	growth = 1.02
)

// classes is the number of classes from quickest to slowest: log(120 s / 50 µs) / log(1.02), and one for the remainder.
const classes = 743

// histogram counts latencies in classes of growing width, so that its size does not depend on how many it counts, and
// two can be added.
type histogram [classes]uint32

func (h *histogram) add(latency time.Duration) {
	class := 0
	if latency > quickest {
		class = int(math.Log(float64(latency)/float64(quickest)) / math.Log(growth))
	}
	h[min(class, classes-1)]++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other {
		h[i] += n
	}
}

// quantile returns the latency in milliseconds within which a share q (0–1) of those counted lie; zero without any.
func (h *histogram) quantile(q float64) float64 {
	var all uint64
	for _, n := range h {
		all += uint64(n)
	}
	if all == 0 {
		return 0
	}
	rank, seen := min(all-1, uint64(q*float64(all))), uint64(0)
	for i, n := range h {
		if seen += uint64(n); seen > rank {
			// The middle of the class.
			return round(float64(quickest)/float64(time.Millisecond)*math.Pow(growth, float64(i)+0.5), 2)
		}
	}
	return 0
}

// round keeps some digits after the point.
func round(f float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(f*scale) / scale
}
