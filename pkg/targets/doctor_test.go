package targets

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/doctor"
	"github.com/ingot-build/ingot/pkg/provision"
)

// Each remedy that a check may name has words here.
func TestRemediesHaveWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../doctor/doctor.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Remedy" {
			return true
		}
		key, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		r := doctor.Result{Remedy: doctor.Remedy(key)}
		if r.Remedy == doctor.RecordDigest {
			r.Err = &provision.AgentDigestError{Package: "agent.deb", URL: "https://example.com/agent.deb", File: "digests"}
		}
		if words(r) == "" {
			t.Errorf("%s has no words", spec.Names[0])
		}
		return true
	})
	if seen < 10 {
		t.Errorf("only %d remedies were found", seen)
	}
}

func TestPrintExamination(t *testing.T) {
	results := []examination{
		{doctor.Result{Check: "credentials", Level: doctor.OK, Finding: "ada"}, ""},
		{doctor.Result{Check: "release", Level: doctor.Stop, Finding: "no Auto Scaling group", Remedy: doctor.Apply}, "mage infra:apply"},
		{doctor.Result{Check: "vCPU quota", Level: doctor.Warn, Finding: "16"}, "ask for more"},
	}
	var out bytes.Buffer
	if err := show(&out, nil, results, printExamination); err != nil {
		t.Fatal(err)
	}
	const want = `RESULT  CHECK        FINDING
ok      credentials  ada
stop    release      no Auto Scaling group
                     → mage infra:apply
warn    vCPU quota   16
                     → ask for more
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := show(&out, new(true), results, printExamination); err != nil {
		t.Fatal(err)
	}
	var said []map[string]string
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || said[1]["remedy"] != "mage infra:apply" || said[1]["level"] != "stop" || said[0]["remedy"] != "" {
		t.Errorf("JSON %s, %v", out.String(), err)
	}
	err := health(results)
	if err == nil || mg.ExitStatus(err) != 3 || err.Error() != "a release would stop at: release" {
		t.Errorf("error = %v, exit code %d", err, mg.ExitStatus(err))
	}
	if err := health(append(results[:1:1], results[2])); err != nil {
		t.Errorf("warnings are an error: %v", err)
	}
}
