package manifest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgctl/pgctl"
)

const tagged = `apiVersion: acid.zalan.do/v1
kind: postgresql
metadata: {name: shop}
spec:
  numberOfInstances: 3
  postgresql: {version: "15"}
  pgctl:
    durability: {acrossDataCenters: true}
    instances:
`

// TestTags: what is said of single instances is read, written and compared.
func TestTags(t *testing.T) {
	text := tagged + `      shop-1: {noFailover: true, failoverPriority: 3, noSync: true, noLoadBalance: true}
      shop-2: {replicateFrom: shop-1, cloneFrom: true, replayDelay: 90m}
`
	clusters, err := Parse("shop.yaml", []byte(text), Options{})
	if err != nil || len(clusters) != 1 {
		t.Fatal(err)
	}
	want := map[string]pgctl.Tags{
		"shop-1": {NoFailover: true, Priority: 3, NoSync: true, NoLoadBalance: true},
		"shop-2": {From: "shop-1", CloneFrom: true, Delay: 90 * time.Minute},
	}
	c := clusters[0].Cluster
	if !reflect.DeepEqual(c.Spec.Tags, want) || !c.Spec.Durability.AcrossDataCenters {
		t.Errorf("read %+v, %+v", c.Spec.Tags, c.Spec.Durability)
	}
	again, err := Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("again.yaml", again, Options{})
	if err != nil || !reflect.DeepEqual(back[0].Cluster.Spec, c.Spec) {
		t.Errorf("written as\n%s\n%v", again, err)
	}
	old := c
	old.Spec.Tags = map[string]pgctl.Tags{"shop-1": {Priority: 3}}
	var changed []string
	for _, change := range Diff(&old, &c, nil) {
		changed = append(changed, change.Path+" "+string(change.Effect))
	}
	if got := strings.Join(changed, "\n"); !strings.Contains(got, "spec.pgctl.instances.shop-1.noSync commit rule") || strings.Contains(got, "failoverPriority") {
		t.Errorf("the difference:\n%s", got)
	}
}

// TestBadTags: what would be silently without effect, or leave nobody to lead.
func TestBadTags(t *testing.T) {
	for entry, complaint := range map[string]string{
		"shop-x: {noSync: true}":           "is no instance of shop",
		"other-1: {noSync: true}":          "is no instance of shop",
		"shop-1: {nosync: true}":           "did you mean noSync",
		"shop-1: {replicateFrom: other-2}": "is no instance of shop",
		"shop-1: {replicateFrom: shop-1}":  "in a circle",
		"shop-1: {replayDelay: tomorrow}":  "is not a duration",
		"shop-1: {replayDelay: 1ms}":       "must be between",
		"shop-1: {failoverPriority: 1000}": "-100",
		"shop-1: {noFailover: perhaps}":    "true",
		"{shop-0: {noFailover: true}, shop-1: {noFailover: true}, shop-2: {replayDelay: 1h}}": "nobody that may lead",
	} {
		text := tagged + "      " + entry + "\n"
		if strings.HasPrefix(entry, "{") {
			text = strings.TrimSuffix(tagged, "\n") + " " + entry + "\n"
		}
		_, err := Parse("shop.yaml", []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%s: %v", entry, err)
		}
	}
}
