package api

import "time"

// OrderKind says what an Order asks for.
type OrderKind string

// The kinds of orders.
const (
	OrderPause      OrderKind = "pause"      // a leader that is lost is not replaced
	OrderResume     OrderKind = "resume"     // it is again
	OrderReload     OrderKind = "reload"     // all servers read their files again
	OrderRestart    OrderKind = "restart"    // one server after the other, standbys first
	OrderReinit     OrderKind = "reinit"     // an instance is copied anew
	OrderSwitchover OrderKind = "switchover" // at a time
	OrderCancel     OrderKind = "cancel"     // what is scheduled
)

// Order is the body of POST /v1/clusters/{name}/orders.
type Order struct {
	Do       OrderKind  `json:"do"`
	Instance string     `json:"instance,omitempty"` // restart, reinit: which; switchover: who is to lead
	Rolling  bool       `json:"rolling,omitempty"`  // restart: the leader hands over instead of restarting where it is
	Pending  bool       `json:"pending,omitempty"`  // restart: only those whose settings wait for it
	At       *time.Time `json:"at,omitempty"`       // restart, switchover: then, instead of now
}
