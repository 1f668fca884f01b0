package wire

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
)

// Answer answers a request for an operation of a query or JSON service with the output, or a pointer to it.
func (s *Service) Answer(w http.ResponseWriter, r *http.Request, operation string, out any) error {
	return (&request{id: UUID(), protocol: s.protocolOf(r), mediaType: jsonType(r), service: s, action: operation}).writeResult(w, out)
}

// writeResult answers a call that succeeded.
func (q *request) writeResult(w http.ResponseWriter, out any) error {
	w.Header().Set("X-Amzn-Requestid", q.id)
	if q.protocol == JSON {
		body, err := q.encodeJSON(w, out)
		if err != nil {
			return fmt.Errorf("encode the answer of %s: %w", q.action, err)
		}
		_, err = w.Write(body)
		return err
	}
	body, err := encodeXML(q.service, q.action, q.id, out)
	if err != nil {
		return fmt.Errorf("encode the answer of %s: %w", q.action, err)
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	_, err = w.Write(body)
	return err
}

// encodeJSON encodes an answer of the JSON protocol as the request was, and sets the headers that say so.
func (q *request) encodeJSON(w http.ResponseWriter, out any) ([]byte, error) {
	w.Header().Set("Content-Type", q.mediaType)
	if q.mediaType == cborType {
		w.Header().Set("Smithy-Protocol", cborProtocol)
		return encodeCBOR(out)
	}
	return json.Marshal(out)
}

// encodeXML returns the document of a query protocol's answer.
func encodeXML(s *Service, action, requestID string, out any) ([]byte, error) {
	root := xml.StartElement{Name: xml.Name{Local: action + "Response"}}
	if s.Namespace != "" {
		root.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: s.Namespace}}
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	if s.Protocol == EC2Query {
		start := b.Len()
		if err := e.EncodeElement(out, root); err != nil {
			return nil, err
		}
		// The request ID is the first child of the element that encoding/xml wrote, which is never self-closing.
		document := b.Bytes()
		end := start + bytes.IndexByte(document[start:], '>') + 1
		return slices.Concat(document[:end], []byte("<requestId>"+requestID+"</requestId>"), document[end:]), nil
	}
	result := xml.StartElement{Name: xml.Name{Local: action + "Result"}}
	metadata := struct {
		RequestID string `xml:"RequestId"`
	}{requestID}
	if err := e.EncodeToken(root); err != nil {
		return nil, err
	}
	// Empty ones are written too: for some operations clients look for them, and none minds one.
	if err := e.EncodeElement(out, result); err != nil {
		return nil, err
	}
	if err := e.EncodeElement(metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return nil, err
	}
	if err := e.EncodeToken(root.End()); err != nil {
		return nil, err
	}
	if err := e.Flush(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeError answers a call that failed, in the protocol's shape.
func (q *request) writeError(w http.ResponseWriter, err *Error) {
	w.Header().Set("X-Amzn-Requestid", q.id)
	fault := "Sender"
	if err.status() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	switch q.protocol {
	case JSON:
		w.Header().Set("X-Amzn-Errortype", err.Code)
		if q.service != nil && q.service.Protocol == AWSQuery { // its clients know the query protocol's codes
			w.Header().Set("X-Amzn-Query-Error", err.Code+";"+fault)
		}
		body, _ := q.encodeJSON(w, map[string]string{"__type": err.Code, "message": err.Message}) // cannot fail
		w.WriteHeader(err.status())
		w.Write(body)
		return
	case REST:
		WriteRESTError(w, q.id, "", err)
		return
	}
	type body struct {
		Type    string `xml:"Type,omitempty"`
		Code    string
		Message string
	}
	var document any
	if q.protocol == EC2Query {
		document = struct {
			XMLName   xml.Name `xml:"Response"`
			Errors    []body   `xml:"Errors>Error"`
			RequestID string
		}{Errors: []body{{Code: err.Code, Message: err.Message}}, RequestID: q.id}
	} else {
		document = struct {
			XMLName   xml.Name
			Error     body
			RequestID string `xml:"RequestId"`
		}{
			XMLName: xml.Name{Space: q.namespace(), Local: "ErrorResponse"}, Error: body{fault, err.Code, err.Message},
			RequestID: q.id,
		}
	}
	writeXML(w, err.status(), document)
}

// WriteRESTError answers a failed call of a REST service. The resource is the path that was asked for.
func WriteRESTError(w http.ResponseWriter, requestID, resource string, err *Error) {
	if recorder, ok := w.(*statusRecorder); ok {
		recorder.err = err
	}
	setRESTHeaders(w, requestID)
	writeXML(w, err.status(), struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string `xml:",omitempty"`
		RequestID string `xml:"RequestId"`
		HostID    string `xml:"HostId"`
	}{Code: err.Code, Message: err.Message, Resource: resource, RequestID: requestID, HostID: w.Header().Get("X-Amz-Id-2")})
}

// setRESTHeaders sets the headers by which AWS finds a request of a REST service again.
func setRESTHeaders(w http.ResponseWriter, requestID string) {
	w.Header().Set("X-Amz-Request-Id", requestID)
	host := sha512.Sum512([]byte(requestID))
	w.Header().Set("X-Amz-Id-2", base64.StdEncoding.EncodeToString(host[:56])) // 76 characters, as on AWS
}

func writeXML(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/xml")
	body, err := xml.Marshal(document)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	w.Write([]byte(xml.Header))
	w.Write(body)
}
