package pgctl

import "strings"

// Nearest is the candidate that name was probably meant to be, or "" when none is near: at most a third
// of its letters may be wrong. A transposition of neighbours is one mistake, the case none. Names longer
// than 64 bytes, which nobody could have meant to type, are not compared.
func Nearest(name string, candidates []string) string {
	best, distance := "", max(1, len(name)/3)+1
	if len(name) > 64 {
		return ""
	}
	for _, candidate := range candidates {
		if d := edits(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the number of insertions, deletions, substitutions and transpositions from a to b.
func edits(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
