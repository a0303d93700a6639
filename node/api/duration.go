package api

import (
	"regexp"
	"strconv"
	"time"

	"github.com/pgctl/pgctl"
)

var dayPattern = regexp.MustCompile(`^([0-9]{1,5})([dw])(.*)$`)

// ParseDuration reads a length of time as time.ParseDuration does, and days and weeks: "7d", "1w",
// "1d12h". An error, also of a negative one, names the field.
func ParseDuration(text, field string) (time.Duration, error) {
	var days time.Duration
	rest := text
	for m := dayPattern.FindStringSubmatch(rest); m != nil; m = dayPattern.FindStringSubmatch(rest) {
		n, _ := strconv.Atoi(m[1]) // has digits only, and few
		unit := 24 * time.Hour
		if m[2] == "w" {
			unit *= 7
		}
		days, rest = days+time.Duration(n)*unit, m[3]
	}
	if rest == "" && text != "" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < 0 {
		return 0, pgctl.Errorf(pgctl.CodeInvalid, "%q is not a length of time", text).At(field).
			WithHint("such as 7d, 12h, 90s or 1d12h")
	}
	return days + d, nil
}

// FormatDuration is the shortest text that ParseDuration reads back, with whole days as such.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return d.String()
}
