package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgctl/pgctl"
)

// identMap is the pg_ident map from the daemon's OS users to AgentRole.
const identMap = "pgctl"

func (s Settings) ident() string {
	users := []string{"root"}
	if s.DaemonUser != "" && s.DaemonUser != "root" {
		users = append(users, s.DaemonUser)
	}
	text := "# Written by pgctl; changes here are overwritten.\n"
	for _, u := range users {
		text += identMap + " " + hbaQuote(u) + " " + AgentRole + "\n"
	}
	return text
}

// hba is closed but for the agent and members; open, the user's lines follow. The first matching line
// decides, so no later one can let others in as a role of ours.
func (s Settings) hba() (string, error) {
	both := AgentRole + "," + ReplicationRole
	lines := []string{
		"# Written by pgctl; changes here are overwritten.",
		"local all,replication " + AgentRole + " peer map=" + identMap,
		"local all,replication " + both + " reject",
	}
	members, err := networks("members", s.Members)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		lines = append(lines, "hostssl replication,postgres "+ReplicationRole+" "+m+" scram-sha-256")
	}
	lines = append(lines, "host all,replication "+both+" all reject")
	user, err := s.userLines(members)
	if err != nil {
		return "", err
	}
	if s.Open {
		lines = append(lines, user...)
	}
	lines = append(lines, "local all,replication all reject", "host all,replication all all reject")
	return strings.Join(lines, "\n") + "\n", nil
}

// userLines are who may come in while the instance is open.
func (s Settings) userLines(members []string) ([]string, error) {
	if len(s.HBA) > 0 {
		for i, line := range s.HBA {
			if problem := checkHBA(line); problem != "" {
				return nil, pgctl.Errorf(pgctl.CodeInvalid, "%s in %q", problem, line).At(fmt.Sprintf("hba[%d]", i))
			}
		}
		return s.HBA, nil
	}
	sources, err := networks("allowedSources", s.AllowedSources)
	if err != nil {
		return nil, err
	}
	lines := []string{"local all all scram-sha-256"}
	all := slices.Concat([]string{"127.0.0.0/8", "::1/128"}, members, sources)
	slices.Sort(all)
	for _, source := range slices.Compact(all) {
		lines = append(lines, "hostssl all all "+source+" scram-sha-256")
	}
	return lines, nil
}

// networks are addresses and CIDRs as CIDRs, sorted, each once.
func networks(field string, addresses []string) ([]string, error) {
	var cidrs []string
	for i, text := range addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(text); err == nil {
				prefix = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
			}
		}
		if err != nil {
			return nil, pgctl.Errorf(pgctl.CodeInvalid, "%q is no address and no CIDR such as 10.0.0.0/8", text).
				At(fmt.Sprintf("%s[%d]", field, i))
		}
		cidrs = append(cidrs, prefix.Masked().String())
	}
	slices.Sort(cidrs)
	return slices.Compact(cidrs), nil
}

var (
	hbaTypes   = []string{"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}
	hbaMethods = []string{
		"trust", "reject", "scram-sha-256", "md5", "password", "gss", "ident", "peer", "pam", "ldap",
		"radius", "cert", "oauth",
	}
)

// checkHBA says what is wrong with a line of pg_hba.conf; "" when nothing is. The server checks lines
// once more; here it is so that a mistake is refused before any host has it.
func checkHBA(line string) string {
	if strings.ContainsAny(line, "\n\r\x00") || strings.HasSuffix(line, `\`) {
		return "a line break"
	}
	words, ok := hbaWords(line)
	switch {
	case !ok:
		return "a quotation mark without its partner"
	case len(words) == 0:
		return ""
	case !slices.Contains(hbaTypes, words[0]):
		return "unknown connection type " + words[0]
	}
	for _, w := range words {
		if strings.HasPrefix(w, "@") || strings.Contains(w, ",@") {
			return "a reference to another file"
		}
	}
	rest := words[1:]
	if words[0] != "local" {
		if len(rest) < 4 {
			return "too few fields (type, databases, users, address, method)"
		}
		var problem string
		if rest, problem = checkAddress(rest); problem != "" {
			return problem
		}
	} else if len(rest) < 3 {
		return "too few fields (local, databases, users, method)"
	} else {
		rest = rest[2:]
	}
	if len(rest) == 0 || !slices.Contains(hbaMethods, rest[0]) {
		return "no known authentication method"
	}
	for _, option := range rest[1:] {
		if !strings.Contains(option, "=") {
			return "option " + option + " without a value"
		}
	}
	return ""
}

// checkAddress checks the address after databases and users, with its mask, and returns what follows.
func checkAddress(words []string) (rest []string, problem string) {
	address, rest := words[2], words[3:]
	if strings.Contains(address, "/") {
		if _, err := netip.ParsePrefix(address); err != nil {
			return nil, address + " is no CIDR such as 10.0.0.0/8"
		}
		return rest, ""
	}
	if _, err := netip.ParseAddr(address); err != nil {
		return rest, "" // all, samehost, samenet, or a host's name
	}
	if _, err := netip.ParseAddr(rest[0]); err != nil {
		return nil, address + " without a mask"
	}
	return rest[1:], ""
}

// hbaWords splits a line as the server does: at blanks outside of quotes, up to a comment. A word
// keeps its quotes.
func hbaWords(line string) (words []string, ok bool) {
	word, quoted := "", false
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
			word += `"`
		case quoted:
			word += string(r)
		case r == '#':
			return appendWord(words, word), true
		case r == ' ' || r == '\t':
			if !strings.HasSuffix(word, ",") { // a list goes on behind the blank
				words, word = appendWord(words, word), ""
			}
		default:
			word += string(r)
		}
	}
	return appendWord(words, word), !quoted
}

func appendWord(words []string, word string) []string {
	if word == "" {
		return words
	}
	return append(words, word)
}

func hbaQuote(word string) string { return `"` + strings.ReplaceAll(word, `"`, `""`) + `"` }
