package roles

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"

	"golang.org/x/text/secure/precis"
)

// iterations is PostgreSQL's default work factor.
const iterations = 4096

// verifier is what the server stores of a password, so that the password itself reaches neither the
// server nor its log.
func verifier(password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	return scram(password, salt, iterations)
}

func scram(password string, salt []byte, rounds int) (string, error) {
	if prepared, err := precis.OpaqueString.String(password); err == nil { // as the server does: else as it is
		password = prepared
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("salt a password: %w", err)
	}
	client := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(client[:]),
		b64(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

var verifierPattern = regexp.MustCompile(`^SCRAM-SHA-256\$([0-9]{1,7}):([A-Za-z0-9+/=]+)\$`)

// matches says whether a stored verifier is of the password.
func matches(stored, password string) bool {
	m := verifierPattern.FindStringSubmatch(stored)
	if m == nil {
		return false
	}
	rounds, err := strconv.Atoi(m[1])
	if err != nil || rounds < 1 {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(m[2])
	if err != nil {
		return false
	}
	again, err := scram(password, salt, rounds)
	return err == nil && hmac.Equal([]byte(again), []byte(stored))
}
