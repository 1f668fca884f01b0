package wire

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/google/go-cmp/cmp"
)

// listed is a struct that is a list in JSON, as those of answers are.
type listed struct{ Members []thing }

func (l listed) MarshalJSON() ([]byte, error) { return json.Marshal(l.Members) }

type thing struct {
	base
	Ratio *float64 `json:"ratio"`
	At    *Epoch
	Data  []byte
	None  *int
}

type base struct{ Count int64 }

func TestCBOR(t *testing.T) {
	at := time.UnixMilli(1_767_323_045_678).UTC()
	in := struct{ Things listed }{listed{[]thing{{base: base{-7}, Ratio: new(2.0), At: &Epoch{at}, Data: []byte("hi")}}}}
	body, err := encodeCBOR(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cbor.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	want := cbor.Map{"Things": cbor.List{cbor.Map{
		"Count": cbor.NegInt(7), "ratio": cbor.Float64(2), "At": &cbor.Tag{ID: 1, Value: cbor.Float64(1_767_323_045.678)}, "Data": cbor.String("aGk="),
		"None": &cbor.Nil{},
	}}}
	if diff := cmp.Diff(cbor.Value(want), got); diff != "" {
		t.Errorf("CBOR (-want +got):\n%s", diff)
	}
	var back struct{ Things []thing }
	document, failed := cborToJSON(body)
	if failed != nil {
		t.Fatal(failed)
	}
	if err := json.Unmarshal(document, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in.Things.Members, back.Things, cmp.AllowUnexported(thing{})); diff != "" {
		t.Errorf("back (-want +got):\n%s", diff)
	}
}

// FuzzCBOR checks that no body makes the decoder panic, and that what it takes is JSON.
func FuzzCBOR(f *testing.F) {
	for _, body := range []string{"", "\xa1aa\x01", "\xbfaa\x9f\x01\x20\xff\xff", "\xa1aa\xc1\xfb\x41\xda\x55\xc3\x69\x6b\x85\x1f", "\x9f", "\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		document, err := cborToJSON(body)
		switch {
		case err != nil && (err.Code == "" || err.Message == ""):
			t.Errorf("error without a code or a message: %#v", err)
		case err == nil && len(body) > 0 && !json.Valid(document):
			t.Errorf("%q is decoded to %q", body, document)
		}
	})
}
