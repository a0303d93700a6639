package manifest

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
)

// token is one word of a pg_hba.conf line: a quoted word is never a keyword.
type token struct {
	text   string
	quoted bool
}

// hbaFields splits a line as PostgreSQL does: fields are separated by blanks, the members of a list by
// commas (and blanks after them), double quotes protect both, # begins a comment.
func hbaFields(line string) ([][]token, *pgctl.Error) {
	var fields [][]token
	var word strings.Builder
	inWord, quoted, inQuotes, afterComma := false, false, false, false
	end := func() {
		if !inWord {
			return
		}
		t := token{text: word.String(), quoted: quoted}
		if afterComma && len(fields) > 0 {
			fields[len(fields)-1] = append(fields[len(fields)-1], t)
		} else {
			fields = append(fields, []token{t})
		}
		word.Reset()
		inWord, quoted, afterComma = false, false, false
	}
scan:
	for _, c := range line {
		switch {
		case c == '"':
			inQuotes, inWord, quoted = !inQuotes, true, true
		case inQuotes:
			word.WriteRune(c)
		case c == '#':
			break scan
		case c == ' ' || c == '\t':
			end()
		case c == ',':
			end()
			afterComma = true
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if inQuotes {
		return nil, pgctl.Errorf(pgctl.CodeInvalid, "has a quote that does not end")
	}
	end()
	return fields, nil
}

var (
	hbaTypes   = []string{"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}
	hbaMethods = []string{
		"trust", "reject", "scram-sha-256", "md5", "password", "gss", "ident", "peer", "pam", "ldap",
		"radius", "cert", "oauth",
	}
	hostPattern = regexp.MustCompile(`^\.?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$`)
)

// hbaRule is what a line says; method is "" for a comment.
type hbaRule struct {
	users  []token
	method string
}

// parseHBA checks the form of a line; a server would refuse the whole file for one bad line.
func parseHBA(line string) (hbaRule, *pgctl.Error) {
	if strings.HasSuffix(strings.TrimSpace(line), `\`) { // in a comment too
		return hbaRule{}, pgctl.Errorf(pgctl.CodeInvalid, "ends with a backslash, which would join it with the next line")
	}
	fields, err := hbaFields(line)
	if err != nil || len(fields) == 0 {
		return hbaRule{}, err
	}
	kind := fields[0][0].text
	if !slices.Contains(hbaTypes, kind) || len(fields[0]) > 1 {
		return hbaRule{}, unknownWord("connection type", kind, hbaTypes)
	}
	at := 4 // of the method
	if kind == "local" {
		at = 3
	} else if len(fields) > 4 {
		if _, err := netip.ParseAddr(fields[3][0].text); err == nil {
			at = 5 // an address without a prefix is followed by a mask
		}
	}
	if len(fields) <= at {
		return hbaRule{}, pgctl.Errorf(pgctl.CodeInvalid, "is incomplete").
			WithHint("TYPE DATABASE USER ADDRESS METHOD, without ADDRESS for local")
	}
	if kind != "local" && !hbaAddress(fields[3][0].text) {
		return hbaRule{}, pgctl.Errorf(pgctl.CodeInvalid, "%q is not an address", shortened(fields[3][0].text)).
			WithHint("a network such as 10.0.0.0/8, all, samehost, samenet or a host name")
	}
	method := fields[at][0].text
	if !slices.Contains(hbaMethods, method) {
		return hbaRule{}, unknownWord("method", method, hbaMethods)
	}
	for _, option := range fields[at+1:] {
		if !strings.Contains(option[0].text, "=") {
			return hbaRule{}, pgctl.Errorf(pgctl.CodeInvalid, "has something behind the method that is not NAME=VALUE")
		}
	}
	for _, t := range slices.Concat(fields[1], fields[2]) {
		if strings.HasPrefix(t.text, "@") {
			return hbaRule{}, pgctl.Errorf(pgctl.CodeRefused, "reads names from a file").WithHint("write the names here")
		}
	}
	return hbaRule{users: fields[2], method: method}, nil
}

func hbaAddress(s string) bool {
	_, errNetwork := netip.ParsePrefix(s)
	_, errAddress := netip.ParseAddr(s)
	return errNetwork == nil || errAddress == nil || hostPattern.MatchString(s) && !strings.Contains(s, "/")
}

func unknownWord(what, word string, known []string) *pgctl.Error {
	e := pgctl.Errorf(pgctl.CodeInvalid, "%q is not a %s", shortened(word), what).
		WithHint("known: %s", strings.Join(known, ", "))
	if near := nearest(word, known); near != "" {
		e = e.WithHint("did you mean %s?", near)
	}
	return e
}

// ours is the role of pgctl's that a line would let others in as; "" when there is none. The lines that
// pgctl writes before these would reject them all the same, so such a line is a mistake or worse.
func (h hbaRule) ours() string {
	for _, u := range h.users {
		if name := strings.TrimPrefix(u.text, "+"); ourRole(name) && h.method != "reject" {
			return name
		}
	}
	return ""
}

// unproven says whether anybody who may connect at all is let in as any role: with trust they are who
// they say they are, with ident who their own host says.
func (h hbaRule) unproven() bool {
	return (h.method == "trust" || h.method == "ident") && slices.ContainsFunc(h.users, func(u token) bool {
		return !u.quoted && (u.text == "all" || strings.HasPrefix(u.text, "/"))
	})
}

func (r *reader) hba(p *place) {
	for _, c := range r.list(p) {
		line, ok := r.text(c)
		if !ok {
			continue
		}
		rule, err := parseHBA(line)
		if err != nil {
			r.problem(c, err)
			continue
		}
		if name := rule.ours(); name != "" {
			r.problem(c, pgctl.Errorf(pgctl.CodeRefused, "names %s, a role that only pgctl logs in as", shortened(name)).
				WithHint("remove the line; what pgctl needs is added"))
			continue
		}
		if rule.unproven() {
			r.warn(c, rule.method+" lets everybody from there in as any role but pgctl's, without a password")
		}
		r.cluster.Spec.HBA = append(r.cluster.Spec.HBA, line)
	}
}
