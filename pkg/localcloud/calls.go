package localcloud

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/cloudwatch"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/codedeploy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/elbv2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/kms"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/servicequotas"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ssm"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/sts"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// CallsVariable is the environment variable that names the folder in which a cloud's server keeps which operations it was called
// with; where it is empty the server keeps nothing. See [RecordedCalls].
const CallsVariable = "INGOT_LOCAL_CALLS"

// callsExtension ends the names of the files with recorded calls.
const callsExtension = ".calls"

// apis returns the AWS services that a cloud has, to look at their tables; they cannot be called.
func apis() []wire.Service {
	return []wire.Service{
		new(autoscaling.Service).API(), new(cloudwatch.Service).API(), new(codedeploy.Service).API(), new(ec2.Service).API(),
		new(elbv2.Service).API(), new(iam.Service).API(), new(kms.Service).API(), new(s3.Service).API(), new(servicequotas.Service).API(),
		new(ssm.Service).API(), new(sts.Service).API(),
	}
}

// Operations returns every operation that a cloud answers, in order, such as "ec2 RunInstances". The services have the names of
// signatures: "elasticloadbalancing", "monitoring".
func Operations() []string {
	var all []string
	for _, service := range apis() {
		for _, name := range service.OperationNames() {
			all = append(all, service.Name+" "+name)
		}
	}
	slices.Sort(all)
	return all
}

// RecordedCalls returns the operations that clouds recorded in the folder, in order, each once. A folder that is not there holds none.
func RecordedCalls(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read recorded calls: %w", err)
	}
	var all []string
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != callsExtension {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read recorded calls: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			if call, whole := strings.CutSuffix(line, "\n"); whole { // a kill can leave half a line
				all = append(all, call)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// CompareCalls returns which of the recorded calls the list does not have, and which of the list were not recorded.
func CompareCalls(list, recorded []string) (missing, unused []string) {
	without := func(of, other []string) []string {
		return slices.DeleteFunc(slices.Clone(of), func(call string) bool { return slices.Contains(other, call) })
	}
	return without(recorded, list), without(list, recorded)
}

// callRecorder writes each operation to a file of its own when it is called for the first time.
type callRecorder struct {
	mu   sync.Mutex
	file *os.File
	seen map[string]bool
}

// newCallRecorder returns a recorder for the folder, which is made where there is none, or nil for "".
func newCallRecorder(folder string) (*callRecorder, error) {
	if folder == "" {
		return nil, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("record calls: %w", err)
	}
	file, err := os.CreateTemp(folder, fmt.Sprintf("%d-*%s", os.Getpid(), callsExtension))
	if err != nil {
		return nil, fmt.Errorf("record calls: %w", err)
	}
	return &callRecorder{file: file, seen: map[string]bool{}}, nil
}

// add records a call. What cannot be written is missing in the comparison, which says so.
func (r *callRecorder) add(call wire.Call) {
	if r == nil || call.Operation == "" || call.Service == controlName {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	line := call.Service + " " + call.Operation + "\n"
	if r.seen[line] {
		return
	}
	r.seen[line] = true
	_, _ = r.file.WriteString(line) // one write: a kill leaves all of it or nothing
}

func (r *callRecorder) close() {
	if r != nil {
		_ = r.file.Close()
	}
}
