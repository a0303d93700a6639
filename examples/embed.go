// Package examples holds manifests to try: the binary carries them for `pgctl dev demo`.
package examples

import _ "embed" // for the manifest

// Shop declares a cluster of three instances with a role and a database of its own.
//
//go:embed shop.yaml
var Shop []byte
