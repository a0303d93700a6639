package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
)

// Problem is one thing that is wrong in a manifest file. Line is 0 when it is the file as a whole.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`

	Cause pgctl.Error `json:"error"` // Field is the path ("spec.volume.size")
}

// Error is the problem on one line, in the form that editors jump to.
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Cause.Error()
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Cause.Error())
}

// Problems is everything that is wrong in a manifest file, in the order of its lines.
type Problems []*Problem

// Error is one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// As makes one *pgctl.Error of all of them for those who look for one, such as the REST API: refused
// when that is all that stands against the file, else invalid.
func (ps Problems) As(target any) bool {
	to, ok := target.(**pgctl.Error)
	if !ok {
		return false
	}
	code := pgctl.CodeRefused
	if slices.ContainsFunc(ps, func(p *Problem) bool { return p.Cause.Code != pgctl.CodeRefused }) {
		code = pgctl.CodeInvalid
	}
	*to = pgctl.Errorf(code, "%s", ps.Error())
	return true
}

func (f *file) add(line int, path string, e *pgctl.Error) {
	if len(f.problems) >= maxProblems {
		f.more = true
		return
	}
	f.problems = append(f.problems, &Problem{File: f.name, Line: line, Cause: *e.At(path)})
}

func (f *file) sorted() Problems {
	slices.SortStableFunc(f.problems, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	if f.more {
		f.problems = append(f.problems, &Problem{
			File: f.name, Cause: *pgctl.Errorf(pgctl.CodeInvalid, "has more problems than these %d", maxProblems),
		})
	}
	return f.problems
}

// nearest is the known name that a wrong one is probably meant to be, or "". More names than anybody has
// are not looked at: the comparison is not for free.
func nearest(name string, known []string) string {
	if len(known) > 500 {
		return ""
	}
	return pgctl.Nearest(name, known)
}
