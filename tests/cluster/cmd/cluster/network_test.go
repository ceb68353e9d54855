package main

import (
	"net/netip"
	"testing"
)

func TestARangeThatARouteOverlapsIsNotChosen(t *testing.T) {
	blocks := []netip.Prefix{netip.MustParsePrefix("10.201.0.0/16"), netip.MustParsePrefix("10.202.0.0/16")}
	for _, test := range []struct{ name, routes, want string }{
		{"no routes", "", "10.201.0.0/16"},
		{"only a default route", "default via 192.0.2.1 dev eth0\n0.0.0.0/0 dev eth0\n", "10.201.0.0/16"},
		{"the gateway of a route is not a destination", "192.0.2.0/24 via 10.201.0.1 dev eth0\n", "10.201.0.0/16"},
		{"another cluster", "10.201.0.0/16 via 10.201.0.2 dev et-demo\n", "10.202.0.0/16"},
		{"a part of it", "10.201.7.0/24 dev vpn0 proto kernel scope link\n", "10.202.0.0/16"},
		{"one address, with a type", "local 10.201.9.9 dev lo table local\n", "10.202.0.0/16"},
		{"a range around all", "10.0.0.0/8 dev vpn0\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chooseNetwork(blocks, routedPrefixes(test.routes))
			if test.want == "" {
				if err == nil {
					t.Fatalf("chose %s, wanted an error", got.Block)
				}
				return
			}
			if err != nil || got.Block.String() != test.want {
				t.Fatalf("got %s, %v; wanted %s", got.Block, err, test.want)
			}
		})
	}
}

func TestANameMustFitAnInterface(t *testing.T) {
	for name, valid := range map[string]bool{"test": true, "demo": true, "a12345678": true, "a123456789": false, "": false, "Test": false, "a-b": false, "../x": false} {
		if namePattern.MatchString(name) != valid {
			t.Errorf("%q: wanted valid=%t", name, valid)
		}
	}
}
