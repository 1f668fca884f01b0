package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
)

// writeResult answers a call that succeeded.
func (q *request) writeResult(w http.ResponseWriter, out any) error {
	w.Header().Set("X-Amzn-Requestid", q.id)
	if q.protocol == JSON {
		body, err := json.Marshal(out)
		if err != nil {
			return fmt.Errorf("encode the answer of %s: %w", q.action, err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
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
func writeError(w http.ResponseWriter, protocol Protocol, namespace, requestID string, err *Error) {
	w.Header().Set("X-Amzn-Requestid", requestID)
	switch protocol {
	case JSON:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", err.Code)
		w.WriteHeader(err.status())
		json.NewEncoder(w).Encode(map[string]string{"__type": err.Code, "message": err.Message})
		return
	case REST:
		WriteRESTError(w, requestID, "", err)
		return
	}
	type body struct {
		Type    string `xml:"Type,omitempty"`
		Code    string
		Message string
	}
	var document any
	if protocol == EC2Query {
		document = struct {
			XMLName   xml.Name `xml:"Response"`
			Errors    []body   `xml:"Errors>Error"`
			RequestID string
		}{Errors: []body{{Code: err.Code, Message: err.Message}}, RequestID: requestID}
	} else {
		fault := "Sender"
		if err.status() >= http.StatusInternalServerError {
			fault = "Receiver"
		}
		document = struct {
			XMLName   xml.Name
			Error     body
			RequestID string `xml:"RequestId"`
		}{
			XMLName: xml.Name{Space: namespace, Local: "ErrorResponse"}, Error: body{fault, err.Code, err.Message},
			RequestID: requestID,
		}
	}
	writeXML(w, err.status(), document)
}

// WriteRESTError answers a failed call of a REST service. The resource is the path that was asked for.
func WriteRESTError(w http.ResponseWriter, requestID, resource string, err *Error) {
	if recorder, ok := w.(*statusRecorder); ok {
		recorder.err = err
	}
	w.Header().Set("X-Amz-Request-Id", requestID)
	writeXML(w, err.status(), struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string `xml:",omitempty"`
		RequestID string `xml:"RequestId"`
	}{Code: err.Code, Message: err.Message, Resource: resource, RequestID: requestID})
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
