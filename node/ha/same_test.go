package ha_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
	"github.com/pgctl/pgctl/node/ha"
)

// TestSame: whatever a report says is news when it changes, but for what changes all the time.
func TestSame(t *testing.T) {
	restless := []string{"Replayed", "LeaderEnd", "ProofAge", "Progress", "Waiting", "Probe", "Vouched"}
	for i := range reflect.TypeFor[ha.Report]().NumField() {
		name := reflect.TypeFor[ha.Report]().Field(i).Name
		var before, after ha.Report
		alter(t, reflect.ValueOf(&after).Elem().Field(i))
		if same := before.Same(&after); same != slices.Contains(restless, name) {
			t.Errorf("%s: the same is %v", name, same)
		}
		if !after.Same(&after) || !after.SameAll(&after) {
			t.Errorf("%s: not the same as itself", name)
		}
		if age := name == "ProofAge" || name == "Probe" || name == "Vouched"; before.SameAll(&after) != age {
			t.Errorf("%s: not noticed by SameAll, or an age", name)
		}
	}
	before := ha.Report{Senders: []ha.Sender{{Life: "b", Flushed: 1}}, Pledge: &ha.Pledge{Epoch: 1}, End: pgctl.Position{Timeline: 1, LSN: 1}}
	after := before
	after.Senders, after.Pledge, after.End.LSN = []ha.Sender{{Life: "b", Flushed: 2}}, &ha.Pledge{Epoch: 1}, 2
	if !before.Same(&after) || before.SameAll(&after) {
		t.Error("positions move all the time")
	}
}

// alter gives a field another value than its zero.
func alter(t *testing.T, f reflect.Value) {
	t.Helper()
	switch f.Kind() {
	case reflect.String:
		f.SetString("x")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int64:
		f.SetInt(int64(time.Hour))
	case reflect.Uint64, reflect.Uint32:
		f.SetUint(7)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
	case reflect.Struct:
		alter(t, f.Field(0))
	default:
		t.Fatalf("no other value is known of a %s", f.Kind())
	}
}
