// Package packaging holds the files that are installed beside the program: the commented example of the
// daemon's configuration, and what lets shells complete commands.
package packaging

import "embed"

// Files are the files of this folder.
//
//go:embed pgctl.toml completions
var Files embed.FS
