package wire

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample has a field of every kind.
type sample struct {
	Name    string     `query:"Name" wire:"required"`
	Kind    kind       `query:"Kind" wire:"enum=a|b"`
	Count   *int       `query:"Count"`
	Small   int32      `query:"Small"`
	Big     int64      `query:"Big"`
	Ratio   float64    `query:"Ratio"`
	Flag    *bool      `query:"Flag"`
	At      *time.Time `query:"At"`
	Data    []byte     `query:"Data"`
	IDs     []string   `query:"Id"`
	Filters []nested   `query:"Filter"`
	Nested  *nested    `query:"Nested"`
	Options *embedded  `query:"Options"`
	Kinds   []string   `query:"Kinds" wire:"enum=a|b"`
	Text    *string    `query:"Text"`
	Kept    *string    `query:"Kept" wire:"empty"`
	embedded
}

type kind string

type nested struct {
	Key    string   `query:"Key" wire:"required"`
	Values []string `query:"Value"`
}

type embedded struct {
	Extra string `query:"Extra"`
}

func TestDecodeQuery(t *testing.T) {
	tests := []struct {
		name     string
		protocol Protocol
		form     string
		want     sample
		wantErr  string
	}{
		{
			name: "scalars",
			form: "Name=x&Kind=a&Count=3&Small=-1&Big=9000000000&Ratio=0.5&Flag=false&At=2026-01-02T03:04:05.5Z&Data=aGk%3D&Extra=e",
			want: sample{
				Name: "x", Kind: "a", Count: new(3), Small: -1, Big: 9000000000, Ratio: 0.5, Flag: new(false),
				At: new(time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC)), Data: []byte("hi"), embedded: embedded{"e"},
			},
		},
		{
			name: "lists in the order of their indexes",
			form: "Name=x&Id.10=ten&Id.2=two&Filter.1.Key=k&Filter.1.Value.1=v&Filter.1.Value.2=w&Filter.3.Key=l&Nested.Key=n",
			want: sample{
				Name: "x", IDs: []string{"two", "ten"}, Filters: []nested{{"k", []string{"v", "w"}}, {Key: "l"}}, Nested: &nested{Key: "n"},
			},
		},
		{
			name: "member lists", protocol: AWSQuery,
			form: "Name=x&Id.member.1=a&Id.member.2=b&Filter.member.1.Key=k&Filter.member.1.Value.member.1=v",
			want: sample{Name: "x", IDs: []string{"a", "b"}, Filters: []nested{{"k", []string{"v"}}}},
		},
		{name: "empty list", protocol: AWSQuery, form: "Name=x&Id=", want: sample{Name: "x", IDs: []string{}}},
		{
			name: "empty values are absent", form: "Name=x&NotHere=&Kind=&Count=&Flag=&At=&Data=&Nested=&Options.Extra=&Extra=&Text=&Kept=",
			want: sample{Name: "x", Kept: new("")},
		},
		{name: "an empty value in a list", form: "Name=x&Id.1=", want: sample{Name: "x", IDs: []string{""}}},
		{name: "required and empty", form: "Name=", wantErr: "MissingParameter: The request must contain the parameter Name"},
		{
			name: "required and empty member", protocol: AWSQuery, form: "Name=",
			wantErr: "ValidationError: 1 validation error detected: Value '' at 'Name' failed to satisfy constraint: Member must have length greater than or equal to 1",
		},

		{name: "missing", form: "", wantErr: "MissingParameter: The request must contain the parameter Name"},
		{
			name: "missing in a list", form: "Name=x&Filter.1.Value.1=v",
			wantErr: "MissingParameter: The request must contain the parameter Filter.1.Key",
		},
		{
			name: "missing member", protocol: AWSQuery, form: "",
			wantErr: "ValidationError: 1 validation error detected: Value null at 'Name' failed to satisfy constraint: Member must not be null",
		},
		{
			name: "enum", form: "Name=x&Kind=c",
			wantErr: "InvalidParameterValue: Value (c) for parameter Kind is invalid. It must be one of: a, b",
		},
		{
			name: "enum of a list", form: "Name=x&Kinds.1=a&Kinds.2=c",
			wantErr: "InvalidParameterValue: Value (c) for parameter Kinds.2 is invalid. It must be one of: a, b",
		},
		{name: "unknown", form: "Name=x&Other=1", wantErr: "UnknownParameter: The parameter Other is not recognized"},
		{name: "unknown in a struct", form: "Name=x&Nested.Key=k&Nested.Other.1=1", wantErr: "UnknownParameter: The parameter Nested.Other.1 is not recognized"},
		{name: "a list for a scalar", form: "Name.1=x", wantErr: "UnknownParameter: The parameter Name.1 is not recognized"},
		{name: "a scalar for a list", form: "Name=x&Id=1", wantErr: "UnknownParameter: The parameter Id is not recognized"},
		{name: "a scalar for a struct", form: "Name=x&Nested=1", wantErr: "UnknownParameter: The parameter Nested is not recognized"},
		{name: "no index", form: "Name=x&Id.a=1", wantErr: "UnknownParameter: The parameter Id.a is not recognized"},
		{name: "a large index", form: "Name=x&Id.99999999999=1", wantErr: "UnknownParameter: The parameter Id.99999999999 is not recognized"},
		{name: "an odd index", form: "Name=x&Id.01=1", wantErr: "UnknownParameter: The parameter Id.01 is not recognized"},
		{name: "the other protocol's list", protocol: AWSQuery, form: "Name=x&Id.1=1", wantErr: "UnknownParameter: The parameter Id.1 is not recognized"},
		{name: "not a number", form: "Name=x&Count=1.5", wantErr: "InvalidParameterValue: Invalid value '1.5' for parameter Count: expected a whole number of at most 64 bits"},
		{name: "not a bool", form: "Name=x&Flag=yes", wantErr: "InvalidParameterValue: Invalid value 'yes' for parameter Flag: expected true or false"},
		{name: "not base64", form: "Name=x&Data=!", wantErr: "InvalidParameterValue: Invalid value '!' for parameter Data: expected base64"},
		{name: "twice", form: "Name=x&Name=y", wantErr: "InvalidParameterCombination: The parameter Name occurs more than once"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			form, err := url.ParseQuery(test.form)
			if err != nil {
				t.Fatal(err)
			}
			var got sample
			gotErr := ""
			if err := decodeQuery(test.protocol, form, &got); err != nil {
				gotErr, got = err.Error(), sample{}
			}
			if gotErr != test.wantErr {
				t.Errorf("error\n got %s\nwant %s", gotErr, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(sample{})); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeJSON(t *testing.T) {
	type inner struct {
		Key string `wire:"required"`
	}
	type input struct {
		Name  string `wire:"required"`
		Tier  string `wire:"enum=Standard|Advanced"`
		KeyID string `json:"KeyId"`
		Count *int
		Tags  []inner
		Since *Epoch
	}
	tests := []struct {
		body    string
		want    input
		wantErr string
	}{
		{
			body: `{"Name":"x","Tier":"Standard","KeyId":"k","Count":0,"Tags":[{"Key":"a"}],"Since":1.5}`,
			want: input{"x", "Standard", "k", new(0), []inner{{"a"}}, &Epoch{time.UnixMilli(1500).UTC()}},
		},
		{body: `{"Name":"x","Tier":"","KeyId":""}`, want: input{Name: "x"}},
		{body: `{"Name":""}`, wantErr: "ValidationException: 1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{body: ``, wantErr: "ValidationException: 1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{body: `{"Name":"x","Other":1}`, wantErr: "ValidationException: The parameter Other is not supported"},
		{body: `{"Name":"x","Tags":[{}]}`, wantErr: "ValidationException: 1 validation error detected: Value null at 'tags.1.member.key' failed to satisfy constraint: Member must not be null"},
		{body: `{"Name":"x","Tier":"Gold"}`, wantErr: "ValidationException: 1 validation error detected: Value 'Gold' at 'tier' failed to satisfy constraint: Member must satisfy enum value set: [Standard, Advanced]"},
		{body: `{"Name":1}`, wantErr: "SerializationException: The parameter Name cannot be a number"},
		{body: `{"Name":`, wantErr: "SerializationException: The body is not a JSON object: unexpected EOF"},
		{body: `{"Name":"x"}{}`, wantErr: "SerializationException: The body is more than one JSON object"},
	}
	for _, test := range tests {
		var got input
		gotErr := ""
		if err := decodeJSON([]byte(test.body), &got); err != nil {
			gotErr, got = err.Error(), input{}
		}
		if gotErr != test.wantErr {
			t.Errorf("%s: error\n got %s\nwant %s", test.body, gotErr, test.wantErr)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: decoded (-want +got):\n%s", test.body, diff)
		}
	}
}

// FuzzDecodeQuery checks that no request makes the decoder panic or take memory out of proportion.
func FuzzDecodeQuery(f *testing.F) {
	for _, form := range []string{
		"Name=x&Id.1=a&Id.2=b", "Name=x&Filter.1.Key=k&Filter.1.Value.1=v", "Name=x&Id.member.1=a", "Name=x&Id=", "Name.=&.=",
		"Name=x&Nested.Key=k&Nested=1", "Id.1=&Id.1.1=", "Name=x&Data=aGk=", "At=2026-01-02T03:04:05Z&Name=n",
	} {
		f.Add(form, true)
		f.Add(form, false)
	}
	f.Fuzz(func(t *testing.T, raw string, member bool) {
		form, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		protocol := EC2Query
		if member {
			protocol = AWSQuery
		}
		var in sample
		if err := decodeQuery(protocol, form, &in); err != nil {
			if err.Code == "" || err.Message == "" {
				t.Errorf("error without a code or a message: %#v", err)
			}
			return
		}
		if form.Get("Name") == "" {
			t.Error("a request without the required parameter is decoded")
		}
		if len(in.IDs)+len(in.Filters) > len(form) {
			t.Errorf("%d parameters became %d items", len(form), len(in.IDs)+len(in.Filters))
		}
	})
}
