package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

func (c *Cluster) writeDNS() error {
	// No forward: there is no upstream, and a name outside the cluster is refused at once.
	return writeFile(c.path("Corefile"), fmt.Sprintf(`.:53 {
    bind %s
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %s %s
    }
    cache 5
}
`, c.Network.node(), c.kubeconfig("coredns"), c.Name), 0o644)
}

func (c *Cluster) startDNS() error {
	return c.keepRunning("coredns", c.tool("coredns"), "-conf="+c.path("Corefile"))
}

// answersDNS asks CoreDNS for the API server's Service.
func (c *Cluster) answersDNS() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(c.Network.node().String(), "53"))
	}}
	addresses, err := resolver.LookupIP(ctx, "ip4", "kubernetes.default.svc.cluster.local.")
	if err != nil {
		return err
	}
	if !addresses[0].Equal(c.Network.apiService()) {
		return fmt.Errorf("kubernetes.default resolves to %s, not %s", addresses[0], c.Network.apiService())
	}
	return nil
}
