package api

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/pgctl/pgctl"
)

// Endpoints is the answer to GET /v1/clusters/{name}/endpoints: where to read and to write now.
type Endpoints struct {
	Cluster   string      `json:"cluster"`
	Epoch     pgctl.Epoch `json:"epoch"`
	Phase     pgctl.Phase `json:"phase"`
	Leader    *Endpoint   `json:"leader"` // null while nobody may be written to
	Standbys  []Endpoint  `json:"standbys"`
	ReadWrite Strings     `json:"readWrite"`
	ReadOnly  Strings     `json:"readOnly"`
	Meta                  // last: the server appends it to the rest, which it keeps ready
}

// Endpoint is one instance that takes connections.
type Endpoint struct {
	Instance   string `json:"instance"`
	Host       string `json:"host"`
	DataCenter string `json:"dataCenter,omitempty"`
	Address    string `json:"address"`
	Port       int    `json:"port"`
	LagBytes   *int64 `json:"lagBytes,omitempty"` // of standbys; missing when unknown
}

// Strings are connection strings without user and password. They name all instances and let the driver
// find the right one, so that they stay right through a failover.
type Strings struct {
	URI      string `json:"uri"`      // libpq
	Keywords string `json:"keywords"` // libpq
	JDBC     string `json:"jdbc"`
}

// Target is what a connection is wanted for.
type Target struct {
	User     string // empty: the driver's default
	Database string // empty: postgres
	Replica  bool   // reads only; a standby where there is one
}

// ConnectionStrings makes the strings for a target. The endpoints are tried in their order.
func ConnectionStrings(endpoints []Endpoint, target Target) Strings {
	if len(endpoints) == 0 {
		return Strings{}
	}
	database, attrs, serverType := target.Database, "read-write", "primary"
	if database == "" {
		database = "postgres"
	}
	if target.Replica {
		attrs, serverType = "prefer-standby", "preferSecondary"
	}
	var addresses, hosts, ports []string
	for _, e := range endpoints {
		addresses = append(addresses, net.JoinHostPort(e.Address, strconv.Itoa(e.Port)))
		hosts = append(hosts, e.Address)
		ports = append(ports, strconv.Itoa(e.Port))
	}
	list, user, jdbcUser, keyword := strings.Join(addresses, ","), "", "", ""
	if target.User != "" {
		user = strings.ReplaceAll(url.QueryEscape(target.User), "+", "%20")
		jdbcUser = "&user=" + user
		user += "@"
		keyword = " user=" + quoteKeyword(target.User)
	}
	path := url.PathEscape(database)
	return Strings{
		URI: "postgresql://" + user + list + "/" + path + "?target_session_attrs=" + attrs + "&sslmode=require",
		Keywords: "host=" + strings.Join(hosts, ",") + " port=" + strings.Join(ports, ",") + keyword +
			" dbname=" + quoteKeyword(database) + " target_session_attrs=" + attrs + " sslmode=require",
		JDBC: "jdbc:postgresql://" + list + "/" + path + "?targetServerType=" + serverType +
			"&sslmode=require" + jdbcUser,
	}
}

// quoteKeyword writes a value as libpq's keyword strings want it.
func quoteKeyword(value string) string {
	if value != "" && !strings.ContainsAny(value, ` '\`) {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}
