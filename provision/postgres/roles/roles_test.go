package roles

import (
	"strings"
	"testing"

	"github.com/pgctl/pgctl"
)

// The example of RFC 7677, as PostgreSQL stores it.
func TestVerifier(t *testing.T) {
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" +
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	salt := "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"
	if got, err := scram("pencil", []byte(salt), 4096); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if !matches(want, "pencil") || matches(want, "Pencil") || matches("md5abc", "pencil") || matches("", "") {
		t.Error("passwords and verifiers do not match as they should")
	}
	a, err := verifier("pencil")
	if err != nil || a == want || !matches(a, "pencil") || strings.ContainsAny(a, `'\`) {
		t.Errorf("%s, %v", a, err)
	}
}

func TestOptions(t *testing.T) {
	wanted, err := options("app", []string{"superuser", "NOINHERIT", "nologin", "NOCREATEDB"})
	if err != nil || !wanted["SUPERUSER"] || wanted["INHERIT"] || wanted["LOGIN"] || wanted["CREATEDB"] {
		t.Errorf("%v, %v", wanted, err)
	}
	for _, bad := range []struct{ user, flag string }{
		{"app", "ADMIN"},
		{"app", ""},
		{"app", "LOGIN; DROP"},
		{"pgctl", "LOGIN"},
		{"pgctl_replication", "LOGIN"},
		{"pg_app", "LOGIN"},
		{"", "LOGIN"},
	} {
		if _, err := options(bad.user, []string{bad.flag}); pgctl.CodeOf(err) != pgctl.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func FuzzMatches(f *testing.F) {
	f.Add("SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$a:b", "pencil")
	f.Fuzz(func(t *testing.T, stored, password string) {
		if len(stored) < 40 && matches(stored, password) {
			t.Errorf("%q is too short for a verifier", stored)
		}
	})
}
