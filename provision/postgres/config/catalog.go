package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// Parameter is what the server says about one of its settings.
type Parameter struct {
	Name    string
	Context string // postmaster: needs a restart; sighup, superuser, user …: a reload
	Type    string // BOOLEAN, ENUM, INTEGER, REAL, STRING
	Min     string // in the setting's own unit, which the server does not tell here; "" without bounds
	Max     string
}

// Catalog holds the settings of one PostgreSQL version by name, in lower case.
type Catalog map[string]Parameter

// ParseCatalog reads the output of postgres --describe-config.
func ParseCatalog(text string) (Catalog, error) {
	c := Catalog{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) < 7 || f[0] == "" {
			return nil, fmt.Errorf("describe-config: line %q has %d fields instead of 9", line, len(f))
		}
		name := strings.ToLower(f[0])
		c[name] = Parameter{Name: f[0], Context: f[1], Type: f[3], Min: f[5], Max: f[6]}
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("describe-config: no settings")
	}
	return c, nil
}

// NeedsRestart says whether a change of the setting takes effect with a restart only.
func (c Catalog) NeedsRestart(name string) bool {
	return c[strings.ToLower(name)].Context == "postmaster"
}

// Validate says what is wrong with parameters of a user, sorted by name, a *pgctl.Error each. What only
// the server knows (units, values of an enumeration) is left to control.Instance.CheckParameters.
func (c Catalog) Validate(params map[string]string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if err := c.validate(strings.ToLower(name), params[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (c Catalog) validate(name, value string) error {
	if err := checkValue(name, value); err != nil {
		return err
	}
	p, known := c[name]
	if !known && strings.Contains(name, ".") { // of an extension
		return nil
	}
	if !known {
		e := refuse(name, "there is no such setting")
		if near := c.nearest(name); near != "" {
			return e.WithHint("did you mean %s?", near)
		}
		return e
	}
	if problem := p.check(value); problem != "" {
		return refuse(name, "%s", problem)
	}
	return nil
}

func refuse(name, format string, args ...any) *pgctl.Error {
	return pgctl.Errorf(pgctl.CodeInvalid, format, args...).At("parameters." + name)
}

// atLeast are settings that pgctl needs room in.
var atLeast = map[string]int64{
	"superuser_reserved_connections": 5,
	"max_wal_senders":                10,
	"max_replication_slots":          10,
	"max_connections":                20,
}

// checkValue refuses what no version allows: guarded names, and values that pgctl cannot work with.
func checkValue(name, value string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.$") != "" {
		return refuse(name, "%q is no name of a setting", name)
	}
	if reason := GuardedReason(name); reason != "" {
		return refuse(name, "only pgctl sets this: %s", reason)
	}
	if strings.ContainsRune(value, 0) {
		return refuse(name, "the value contains a zero byte")
	}
	if least, ok := atLeast[name]; ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 0, 64); err != nil || n < least {
			return refuse(name, "%q is not a number from %d on, which pgctl needs", value, least)
		}
	}
	if name == "wal_level" && strings.EqualFold(value, "minimal") {
		return refuse(name, "standbys need more than minimal").WithHint("replica or logical")
	}
	return nil
}

// check says what is wrong with a value as far as the catalogue tells; "" when nothing is.
func (p Parameter) check(value string) string {
	value = strings.TrimSpace(value)
	switch p.Type {
	case "BOOLEAN":
		if !isBool(value) {
			return fmt.Sprintf("%q is neither on nor off", value)
		}
	case "INTEGER", "REAL":
		n, bare := number(value)
		if _, ok := number(strings.TrimSpace(strings.TrimRight(value, "BkMGTsmhdinu"))); !bare && !ok {
			return fmt.Sprintf("%q is not a number", value)
		}
		low, bounded := number(p.Min)
		high, _ := number(p.Max)
		if bare && bounded && (n < low || n > high) {
			return fmt.Sprintf("%s is outside of %s to %s", value, p.Min, p.Max)
		}
	}
	return ""
}

// number reads a number as the server does, with 0x and 0 in front meaning other bases.
func number(s string) (float64, bool) {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return float64(n), true
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// isBool knows the server's words and their unique beginnings.
func isBool(value string) bool {
	value = strings.ToLower(value)
	if value == "0" || value == "1" || value == "on" || value == "of" {
		return true
	}
	for _, word := range []string{"true", "false", "yes", "no", "off"} {
		if value != "" && value != "o" && strings.HasPrefix(word, value) {
			return true
		}
	}
	return false
}

// nearest is the name of the catalogue that is most like the wrong one; "" when none is like it.
func (c Catalog) nearest(wrong string) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(c)), func(name string) bool { return GuardedReason(name) != "" })
	return pgctl.Nearest(wrong, names)
}
