package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A Network is the /16 of one cluster, cut up the same way in each:
//
//	.0.0/30    the pair of interfaces between host (.0.1) and node (.0.2)
//	.64.0/18   pods, on a bridge inside the node's network namespace
//	.128.0/18  Services
//
// The host has one route to the whole /16 through the node, so Services answer there too.
type Network struct{ Block netip.Prefix }

// candidates are private ranges that neither Docker's defaults (172.17 and up) nor kubeadm's
// (10.96, 10.244) use.
func candidates() []netip.Prefix {
	var blocks []netip.Prefix
	for second := byte(201); second < 240; second++ {
		blocks = append(blocks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, second, 0, 0}), 16))
	}
	return blocks
}

func (n Network) address(third, fourth byte) net.IP {
	block := n.Block.Addr().As4()
	return net.IPv4(block[0], block[1], third, fourth)
}

func (n Network) host() net.IP       { return n.address(0, 1) }
func (n Network) node() net.IP       { return n.address(0, 2) }
func (n Network) gateway() net.IP    { return n.address(64, 1) }
func (n Network) apiService() net.IP { return n.address(128, 1) }
func (n Network) pods() string       { return n.address(64, 0).String() + "/18" }
func (n Network) services() string   { return n.address(128, 0).String() + "/18" }

// freeNetwork is the first candidate that no route of any table overlaps.
func freeNetwork() (Network, error) {
	output, err := exec.Command("ip", "-4", "route", "show", "table", "all").Output()
	if err != nil {
		return Network{}, fmt.Errorf("failed to list the routes: %w", err)
	}
	return chooseNetwork(candidates(), routedPrefixes(string(output)))
}

// routedPrefixes reads the destinations in the output of `ip route`: the first word of a line, or the
// second after a type ("local 10.0.0.1 dev …"). The default route is none: it overlaps everything.
func routedPrefixes(routes string) []netip.Prefix {
	var found []netip.Prefix
	for _, line := range strings.Split(routes, "\n") {
		fields := strings.Fields(line)
		for _, field := range fields[:min(2, len(fields))] {
			if prefix, err := netip.ParsePrefix(field); err == nil && prefix.Bits() > 0 {
				found = append(found, prefix)
			} else if address, err := netip.ParseAddr(field); err == nil {
				found = append(found, netip.PrefixFrom(address, 32))
			}
		}
	}
	return found
}

func chooseNetwork(blocks, taken []netip.Prefix) (Network, error) {
	for _, block := range blocks {
		if !slices.ContainsFunc(taken, block.Overlaps) {
			return Network{Block: block}, nil
		}
	}
	return Network{}, fmt.Errorf("every private range from %s to %s overlaps a route of this machine", blocks[0], blocks[len(blocks)-1])
}

func (c *Cluster) hostInterface() string { return "et-" + c.Name }

// mark is the interface's alias, by which a later up or down knows that it is ours.
func (c *Cluster) mark() string { return "error-tracking-operator " + c.Folder }

// interfaceOwner says whether the host's interface exists, and whether it is this cluster's.
func (c *Cluster) interfaceOwner() (present, ours bool) {
	alias, err := os.ReadFile("/sys/class/net/" + c.hostInterface() + "/ifalias")
	if err != nil {
		return false, false
	}
	return true, strings.TrimSpace(string(alias)) == c.mark()
}

// connect makes the pair of interfaces, its other end inside the network namespace of pid. With
// that namespace the kernel removes both ends.
func (c *Cluster) connect(pid int) error {
	link := c.hostInterface()
	for _, line := range []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", link, pid),
		fmt.Sprintf("address add %s/30 dev %s", c.Network.host(), link),
		fmt.Sprintf("link set %s up", link),
		fmt.Sprintf("route add %s via %s dev %s", c.Network.Block, c.Network.node(), link),
	} {
		if err := ip(line); err != nil {
			return err
		}
	}
	if output, err := exec.Command("ip", "link", "set", link, "alias", c.mark()).CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set %s alias: %w: %s", link, err, output)
	}
	return nil
}

// networkInside configures the node's end; called in the cluster's namespaces.
func (c *Cluster) networkInside() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := net.InterfaceByName("eth0"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("eth0 did not come into the network namespace within 10 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, line := range []string{
		"link set lo up",
		fmt.Sprintf("address add %s/30 dev eth0", c.Network.node()),
		"link set eth0 up",
		// A default route, because a packet to a Service must be routable before kube-proxy's rule
		// sees it.
		fmt.Sprintf("route add default via %s", c.Network.host()),
		"link add pods0 type bridge",
		fmt.Sprintf("address add %s/18 dev pods0", c.Network.gateway()),
		"link set pods0 up",
	} {
		if err := runInside("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// bridgesPassRules says whether packets between two pods of the bridge go through kube-proxy's
// rules (module br_netfilter). Where not, Services are masqueraded, so that answers come back.
func bridgesPassRules() bool {
	return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o644) == nil
}

func ip(line string) error {
	if output, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// writeCNI is the pods' network: a bridge, addresses from files below the node's /var/lib. A bridge
// enforces no NetworkPolicy.
func (c *Cluster) writeCNI() error {
	return writeFile(c.path("cni", "10-pods.conflist"), fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "/var/lib/cni/networks", "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "%s", "rangeStart": "%s", "gateway": "%s"}]]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, c.Network.pods(), c.Network.address(64, 2), c.Network.gateway()), 0o644)
}
