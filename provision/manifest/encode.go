package manifest

import (
	"bytes"
	"strconv"

	"github.com/pgctl/pgctl"
	"go.yaml.in/yaml/v3"
)

// The form in which clusters are written: the same fields as in the table, in the order people expect.
type encoded struct {
	APIVersion string          `yaml:"apiVersion"`
	Kind       string          `yaml:"kind"`
	Metadata   encodedMetadata `yaml:"metadata"`
	Spec       encodedSpec     `yaml:"spec"`
}

type encodedMetadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

type encodedSpec struct {
	Team           string              `yaml:"teamId,omitempty"`
	Instances      int                 `yaml:"numberOfInstances"`
	Postgres       encodedPostgres     `yaml:"postgresql"`
	Patroni        encodedPatroni      `yaml:"patroni,omitempty"`
	Volume         encodedVolume       `yaml:"volume,omitempty"`
	Users          map[string][]string `yaml:"users,omitempty"`
	Databases      map[string]string   `yaml:"databases,omitempty"`
	AllowedSources []string            `yaml:"allowedSourceRanges,omitempty"`
	Pgctl          encodedPgctl        `yaml:"pgctl"`
}

type encodedPostgres struct {
	Version    string            `yaml:"version"`
	Parameters map[string]string `yaml:"parameters,omitempty"`
}

type encodedPatroni struct {
	InitDB     map[string]string `yaml:"initdb,omitempty"`
	HBA        []string          `yaml:"pg_hba,omitempty"`
	MaximumLag int64             `yaml:"maximum_lag_on_failover,omitempty"`
}

type encodedVolume struct {
	Size string `yaml:"size,omitempty"`
}

type encodedPgctl struct {
	Placement  encodedPlacement       `yaml:"placement,omitempty"`
	Durability encodedDurability      `yaml:"durability"`
	Instances  map[string]encodedTags `yaml:"instances,omitempty"`
}

type encodedPlacement struct {
	DataCenters []string          `yaml:"dataCenters,omitempty"`
	HostLabels  map[string]string `yaml:"hostLabels,omitempty"`
}

type encodedDurability struct {
	Mode      pgctl.Mode `yaml:"mode"`
	SyncNodes int        `yaml:"syncNodes,omitempty"`
	Strict    bool       `yaml:"strict,omitempty"`
	Across    bool       `yaml:"acrossDataCenters,omitempty"`
}

// Encode writes the declaration of a cluster as YAML that Parse reads back as the same cluster. What the
// store gave it (port, revision, deletion) is not part of it.
func Encode(c *pgctl.Cluster) ([]byte, error) {
	s := &c.Spec
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(encoded{
		APIVersion: "acid.zalan.do/v1",
		Kind:       "postgresql",
		Metadata:   encodedMetadata{c.Name, c.Namespace, c.Labels, c.Annotations},
		Spec: encodedSpec{
			Team: c.Team, Instances: s.Instances,
			Postgres:  encodedPostgres{strconv.Itoa(s.Version), s.Parameters},
			Patroni:   encodedPatroni{s.InitDB, s.HBA, s.Durability.MaximumLag},
			Volume:    encodedVolume{s.VolumeSize},
			Users:     s.Users,
			Databases: s.Databases, AllowedSources: s.AllowedSources,
			Pgctl: encodedPgctl{
				Placement:  encodedPlacement{s.Placement.DataCenters, s.Placement.HostLabels},
				Durability: encodedDurability{s.Durability.Mode, s.Durability.SyncNodes, s.Durability.Strict, s.Durability.AcrossDataCenters},
				Instances:  encodeTags(s.Tags),
			},
		},
	})
	if err != nil {
		return nil, pgctl.Errorf(pgctl.CodeInternal, "writing the manifest of %s: %v", c.Name, err)
	}
	return out.Bytes(), nil
}
