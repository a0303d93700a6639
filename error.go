package pgctl

import (
	"errors"
	"fmt"
)

// Code tells machines what went wrong; it decides HTTP status and exit status.
type Code string

// The codes. What is not one of them reaches users as CodeInternal.
const (
	CodeInvalid      Code = "invalid"      // the request is wrong; repeating it cannot help
	CodeNotFound     Code = "not_found"    // no such cluster, instance, host, user …
	CodeConflict     Code = "conflict"     // the state is not the one the request assumed
	CodeUnavailable  Code = "unavailable"  // nobody can do it now (no leader, no quorum); try again
	CodeUnauthorized Code = "unauthorized" // who asks is unknown, or may not
	CodeRefused      Code = "refused"      // possible, but it would endanger data; the hint says what would allow it
	CodeInternal     Code = "internal"     // our fault
)

// Error is what users see: which field, what is wrong with it, what to do about it.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Error is the message with its field in front and the hint behind.
func (e *Error) Error() string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Errorf makes an Error of a code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// At names the field that is wrong.
func (e *Error) At(field string) *Error { e.Field = field; return e }

// WithHint says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// CodeOf is the code of the first Error in the chain; CodeInternal for other errors, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
