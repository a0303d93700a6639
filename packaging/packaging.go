// Package packaging holds the files that are installed beside the program: the commented example of the
// daemon's configuration, the systemd units, and what lets shells complete commands.
package packaging

import "embed"

// Files are the files of this folder.
//
//go:embed pgctl.toml pgctl.service pgctl-guard.service completions
var Files embed.FS
