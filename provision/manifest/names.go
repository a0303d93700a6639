package manifest

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/pgctl/pgctl"
)

// form is what a kind of name must look like.
type form struct {
	pattern *regexp.Regexp
	longest int // bytes
	words   string
}

var (
	clusterNames = form{
		regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`), 58,
		"lower-case letters, digits and dashes, beginning with a letter and not ending with a dash",
	}
	dnsLabels = form{
		regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`), 63,
		"lower-case letters, digits and dashes, not at the ends",
	}
	plainNames = form{
		regexp.MustCompile(`^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$`), 63,
		"letters, digits, and dashes, dots or underscores between them",
	}
	labelNames = form{
		regexp.MustCompile(`^[A-Za-z0-9]([-_./A-Za-z0-9]*[A-Za-z0-9])?$`), 253,
		"letters, digits, and dashes, dots, slashes or underscores between them",
	}
	// Role and database names could be anything in PostgreSQL; these need no quoting in pg_hba.conf, in
	// connection strings or in a shell. 63 bytes is PostgreSQL's own limit.
	roleNames = form{
		regexp.MustCompile(`^[A-Za-z0-9_]([-_.A-Za-z0-9]*[A-Za-z0-9_])?$`), 63,
		"letters, digits and underscores, and dashes or dots between them",
	}
	databaseNames = form{
		regexp.MustCompile(`^[A-Za-z_]([-_A-Za-z0-9]*[A-Za-z0-9_])?$`), 63,
		"letters, digits and underscores, and dashes between them, not beginning with a digit",
	}
	parameterNames = form{
		regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$`), 126,
		"letters, digits and underscores, with dots between the parts of an extension's",
	}
)

func (r *reader) matches(p *place, name string, f form) bool {
	switch {
	case len(name) > f.longest:
		r.invalid(p, "%q has %d characters; the most is %d", shortened(name), len(name), f.longest)
	case !f.pattern.MatchString(name):
		r.problem(p, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a valid name", shortened(name)).
			WithHint("use %s", f.words))
	default:
		return true
	}
	return false
}

// ourRole says whether pgctl itself logs in under a name, now or in a later version.
func ourRole(name string) bool {
	return name == "pgctl" || strings.HasPrefix(name, "pgctl_") || strings.HasPrefix(name, "pgctl.") ||
		strings.HasPrefix(name, "pgctl-")
}

// reservedRole says why a name cannot be declared as a user; "" when it can.
func reservedRole(name string) string {
	switch lower := strings.ToLower(name); {
	case ourRole(lower):
		return "names that begin with pgctl are for the roles pgctl works with"
	case strings.HasPrefix(lower, "pg_"):
		return "names that begin with pg_ are PostgreSQL's own roles"
	case lower == "public", lower == "none", lower == "all", strings.HasPrefix(lower, "current_"),
		lower == "session_user", lower == "user":
		return "it means something else in SQL or pg_hba.conf"
	}
	return ""
}

// reservedDatabase says why a name cannot be declared as a database; "" when it can.
func reservedDatabase(name string) string {
	switch strings.ToLower(name) {
	case "template0", "template1", "postgres":
		return "it is there in every cluster and stays PostgreSQL's own"
	case "all", "sameuser", "samerole", "samegroup", "replication":
		return "it means something else in pg_hba.conf"
	}
	return ""
}

func isControl(c rune) bool { return unicode.IsControl(c) }

var sizePattern = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?)([EPTGMKk]i?)?$`)

// volumeBytes is the size that a quantity in Kubernetes' notation stands for (10Gi, 1.5T, 500M).
func volumeBytes(s string) (float64, bool) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	size, err := strconv.ParseFloat(m[1], 64)
	if m[2] != "" {
		base := 1000.0
		if strings.HasSuffix(m[2], "i") {
			base = 1024
		}
		for range 1 + strings.Index("KMGTPE", strings.ToUpper(m[2][:1])) {
			size *= base
		}
	}
	return size, err == nil && size > 0
}
